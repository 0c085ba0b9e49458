/* What is put on streams: copies, events, graphs. */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

/* --- copies ------------------------------------------------------------------------------------------------------ */

static bool captures(const void *handle) {
    const Stream *stream = handle ? find_object(STREAM, handle) : NULL;
    return stream && stream->capture;
}

enum { TO_DEVICE = 1, FROM_DEVICE = 2 };

/* The device's side must lie in live memory; the host's must be page-locked where a graph will use it again. */
static Result copy(void *stream, uintptr_t to, uintptr_t from, size_t bytes, int sides) {
    if (sides & TO_DEVICE && !find_memory(to, bytes, true)) return INVALID_VALUE;
    if (sides & FROM_DEVICE && !find_memory(from, bytes, true)) return INVALID_VALUE;
    if (captures(stream)) {
        uintptr_t host = sides & TO_DEVICE ? from : to;
        if (sides != (TO_DEVICE | FROM_DEVICE) && !find_memory(host, bytes, false)) return CAPTURE_UNSUPPORTED;
    }
    COUNT(copies);
    return put(stream, (Operation){.kind = COPY, .to = (void *)to, .from = (const void *)from, .bytes = bytes});
}
API cuMemcpyHtoD_v2(DevicePtr to, const void *from, size_t bytes) {
    ENTER_IN_CONTEXT();
    return copy(NULL, (uintptr_t)to, (uintptr_t)from, bytes, TO_DEVICE);
}
API cuMemcpyDtoH_v2(void *to, DevicePtr from, size_t bytes) {
    ENTER_IN_CONTEXT();
    return copy(NULL, (uintptr_t)to, (uintptr_t)from, bytes, FROM_DEVICE);
}
API cuMemcpyDtoD_v2(DevicePtr to, DevicePtr from, size_t bytes) {
    ENTER_IN_CONTEXT();
    return copy(NULL, (uintptr_t)to, (uintptr_t)from, bytes, TO_DEVICE | FROM_DEVICE);
}
API cuMemcpyHtoDAsync_v2(DevicePtr to, const void *from, size_t bytes, void *stream) {
    ENTER_IN_CONTEXT();
    return copy(stream, (uintptr_t)to, (uintptr_t)from, bytes, TO_DEVICE);
}
API cuMemcpyDtoHAsync_v2(void *to, DevicePtr from, size_t bytes, void *stream) {
    ENTER_IN_CONTEXT();
    return copy(stream, (uintptr_t)to, (uintptr_t)from, bytes, FROM_DEVICE);
}
API cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, void *stream) {
    ENTER_IN_CONTEXT();
    return copy(stream, (uintptr_t)to, (uintptr_t)from, bytes, TO_DEVICE | FROM_DEVICE);
}
API cuMemsetD8Async(DevicePtr to, unsigned char value, size_t bytes, void *stream) {
    ENTER_IN_CONTEXT();
    if (!find_memory((uintptr_t)to, bytes, true)) return INVALID_VALUE;
    return put(stream, (Operation){.kind = SET, .to = (void *)(uintptr_t)to, .value = value, .bytes = bytes});
}
API cuMemsetD8_v2(DevicePtr to, unsigned char value, size_t bytes) {
    ENTER();
    return cuMemsetD8Async(to, value, bytes, NULL);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

API cuEventCreate(void **handle, unsigned flags) {
    ENTER_IN_CONTEXT();
    (void)flags;
    Event *event = new_object(EVENT, sizeof *event);
    if (!event) return OUT_OF_MEMORY;
    event->time_ms = -1;
    COUNT(events_created);
    *handle = event;
    return SUCCESS;
}
API cuEventDestroy_v2(void *handle) {
    ENTER_IN_CONTEXT();
    Event *event = find_object(EVENT, handle);
    if (!event) return INVALID_HANDLE;
    if (event->pending && find_object(STREAM, event->stream)) wait_for_stream(event->stream, false);
    delete_object(event);
    COUNT(events_destroyed);
    return SUCCESS;
}
API cuEventRecord(void *handle, void *stream) {
    ENTER_IN_CONTEXT();
    Event *event = find_object(EVENT, handle);
    return event ? put(stream, (Operation){.kind = RECORD, .event = event}) : INVALID_HANDLE;
}
API cuEventSynchronize(void *handle) {
    ENTER_IN_CONTEXT();
    Event *event = find_object(EVENT, handle);
    if (!event) return INVALID_HANDLE;
    if (event->captured) return CAPTURED_EVENT;
    COUNT(synchronisations);
    return event->pending && find_object(STREAM, event->stream) ? wait_for_stream(event->stream, true) : SUCCESS;
}
API cuEventQuery(void *handle) {
    ENTER_IN_CONTEXT();
    Event *event = find_object(EVENT, handle);
    if (!event) return INVALID_HANDLE;
    if (event->captured) return CAPTURED_EVENT;
    bool pending = event->pending > 0;
    if (pending && find_object(STREAM, event->stream)) wait_for_stream(event->stream, false);
    return pending ? NOT_READY : SUCCESS;
}
API cuEventElapsedTime_v2(float *ms, void *start, void *end) {
    ENTER_IN_CONTEXT();
    const Event *first = find_object(EVENT, start), *last = find_object(EVENT, end);
    if (!first || !last || first->captured || last->captured) return INVALID_HANDLE;
    if (first->pending || last->pending) return NOT_READY;
    if (first->time_ms < 0 || last->time_ms < 0) return INVALID_HANDLE;
    *ms = (float)(last->time_ms - first->time_ms);
    return SUCCESS;
}
API cuEventElapsedTime(float *ms, void *start, void *end) { return cuEventElapsedTime_v2(ms, start, end); }

/* Joining a second stream to a capture is not simulated. */
API cuStreamWaitEvent(void *stream, void *handle, unsigned flags) {
    ENTER_IN_CONTEXT();
    Event *event = find_object(EVENT, handle);
    if (!event || flags) return event ? NOT_SUPPORTED : INVALID_HANDLE;
    if (captures(stream)) return event->captured && event->stream == stream ? SUCCESS : CAPTURE_ISOLATION;
    return event->captured ? NOT_SUPPORTED : put(stream, (Operation){.kind = WAIT, .event = event});
}

/* --- graphs ------------------------------------------------------------------------------------------------------ */

API cuGraphGetNodes(void *handle, void **nodes, size_t *count) {
    ENTER_IN_CONTEXT();
    const Graph *graph = find_object(GRAPH, handle);
    if (!graph) return INVALID_HANDLE;
    if (nodes) return NOT_SUPPORTED;
    *count = graph->nodes.count;
    return SUCCESS;
}
API cuGraphInstantiateWithFlags(void **exec, void *handle, unsigned long long flags) {
    ENTER_IN_CONTEXT();
    (void)flags;
    const Graph *graph = find_object(GRAPH, handle);
    if (!graph) return INVALID_HANDLE;
    Graph *made = new_object(GRAPH_EXEC, sizeof *made);
    if (!made) return OUT_OF_MEMORY;
    for (size_t i = 0; i < graph->nodes.count; i++)
        if (!append(&made->nodes, graph->nodes.items[i])) return OUT_OF_MEMORY;
    COUNT(graph_execs_created);
    *exec = made;
    return SUCCESS;
}
API cuGraphUpload(void *exec, void *stream) {
    ENTER_IN_CONTEXT();
    return find_object(GRAPH_EXEC, exec) && find_object(STREAM, stream) ? SUCCESS : INVALID_HANDLE;
}
API cuGraphLaunch(void *handle, void *stream) {
    ENTER_IN_CONTEXT();
    const Graph *exec = find_object(GRAPH_EXEC, handle);
    if (!exec) return INVALID_HANDLE;
    if (captures(stream)) return NOT_SUPPORTED;
    Result result = SUCCESS;
    for (size_t i = 0; i < exec->nodes.count && !result; i++) result = put(stream, exec->nodes.items[i]);
    if (!result) COUNT(graph_launches);
    return result;
}
static Result destroy_graph(Graph *graph) {
    if (!graph) return INVALID_HANDLE;
    free(graph->nodes.items);
    delete_object(graph);
    return SUCCESS;
}
API cuGraphDestroy(void *graph) {
    ENTER_IN_CONTEXT();
    Result result = destroy_graph(find_object(GRAPH, graph));
    if (!result) COUNT(graphs_destroyed);
    return result;
}
API cuGraphExecDestroy(void *exec) {
    ENTER_IN_CONTEXT();
    Result result = destroy_graph(find_object(GRAPH_EXEC, exec));
    if (!result) COUNT(graph_execs_destroyed);
    return result;
}
