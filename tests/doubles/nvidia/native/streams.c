/* Lazy streams: a queue that runs when somebody waits, and the states of a capture. */
#define _GNU_SOURCE
#include "objects.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static Object *objects;
static pthread_cond_t stream_rests = PTHREAD_COND_INITIALIZER;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* --- handles ----------------------------------------------------------------------------------------------------- */

void *new_object(Kind kind, size_t bytes) {
    Object *object = calloc(1, bytes);
    if (!object) return NULL;
    object->kind = kind;
    lock();
    object->next = objects, objects = object;
    unlock();
    return object;
}
void *find_object(Kind kind, const void *handle) {
    lock();
    Object *found = objects;
    while (found && (found != handle || found->kind != kind)) found = found->next;
    unlock();
    return found;
}
void delete_object(void *object) {
    lock();
    for (Object **at = &objects; *at; at = &(*at)->next)
        if (*at == object) {
            *at = ((Object *)object)->next;
            break;
        }
    unlock();
    free(object);
}
Stream *first_stream(Stream *after) { /* under the lock */
    Object *at = after ? after->object.next : objects;
    while (at && at->kind != STREAM) at = at->next;
    return (Stream *)at;
}

bool append(Operations *operations, Operation operation) {
    if (operations->count == operations->room) {
        size_t room = operations->room ? 2 * operations->room : 16;
        Operation *items = realloc(operations->items, room * sizeof *items);
        if (!items) return false;
        operations->items = items, operations->room = room;
    }
    operations->items[operations->count++] = operation;
    return true;
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static void run(Operation operation) {
    Event *event = operation.event;
    switch (operation.kind) {
    case COPY: memmove(operation.to, operation.from, operation.bytes); break;
    case SET: memset(operation.to, operation.value, operation.bytes); break;
    case HOST_FUNCTION: operation.function(operation.data); break;
    case RECORD:
        lock();
        event->time_ms = now_ms();
        if (event->pending > 0) event->pending--;
        unlock();
        break;
    case WAIT:
        if (event->stream && event->pending) wait_for_stream(event->stream, true);
        break;
    }
}

/* Runs what is pending. Where another thread is at it: waits for that one if `patient`, else leaves it alone; an
 * impatient caller may hold Python's lock, which the other's host function may need. */
Result wait_for_stream(Stream *stream, bool patient) {
    lock();
    while (stream->running && patient && !pthread_equal(stream->runner, pthread_self()))
        pthread_cond_wait(&stream_rests, &big_lock);
    if (!stream->running) {
        stream->running = true, stream->runner = pthread_self();
        for (size_t done = 0; done < stream->queue.count; done++) {
            Operation next = stream->queue.items[done];
            unlock();
            run(next);
            lock();
        }
        stream->queue.count = 0;
        stream->running = false;
        pthread_cond_broadcast(&stream_rests);
    }
    unlock();
    return SUCCESS;
}

Result wait_for_everything(bool blocking_streams_only) {
    lock();
    Stream *stream = first_stream(NULL);
    while (stream) {
        unlock();
        if (!blocking_streams_only || !(stream->flags & STREAM_NON_BLOCKING)) wait_for_stream(stream, false);
        lock();
        stream = first_stream(stream);
    }
    unlock();
    return SUCCESS;
}

/* --- captures ---------------------------------------------------------------------------------------------------- */

enum { MODE_GLOBAL, MODE_THREAD_LOCAL, MODE_RELAXED };

Result unsafe_call(void) {
    bool spoils = false;
    lock();
    for (Stream *s = first_stream(NULL); s; s = first_stream(s)) {
        bool own = pthread_equal(s->capturer, pthread_self());
        if (!s->capture || s->capture_mode == MODE_RELAXED || (s->capture_mode == MODE_THREAD_LOCAL && !own)) continue;
        s->capture = SPOILED;
        spoils = true;
    }
    unlock();
    return spoils ? CAPTURE_UNSUPPORTED : SUCCESS;
}

static bool is_legacy(const void *stream) { return stream == NULL || stream == (void *)1; }

/* The legacy stream waits for every blocking one, which a capturing one cannot bear. */
static Result enter_legacy(void) {
    bool spoils = false;
    lock();
    for (Stream *s = first_stream(NULL); s; s = first_stream(s))
        if (s->capture && !(s->flags & STREAM_NON_BLOCKING)) s->capture = SPOILED, spoils = true;
    unlock();
    return spoils ? CAPTURE_IMPLICIT : wait_for_everything(true);
}

Result put(void *handle, Operation operation) {
    if (is_legacy(handle)) {
        Result failure = enter_legacy();
        if (!failure) run(operation);
        return failure;
    }
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    lock();
    Result result = SUCCESS;
    bool records = operation.kind == RECORD;
    if (stream->capture == SPOILED) result = CAPTURE_INVALIDATED;
    else if (records && stream->capture) { /* a plain record orders a capture; it is not a node of it */
        operation.event->captured = true, operation.event->stream = stream;
    } else if (!append(stream->capture ? &stream->captured : &stream->queue, operation)) result = OUT_OF_MEMORY;
    else if (records) operation.event->captured = false, operation.event->stream = stream, operation.event->pending++;
    unlock();
    return result;
}

/* Waiting for, or asking after, a stream that is capturing is not allowed. */
static Result not_capturing(Stream *stream) {
    lock();
    bool captures = stream->capture != NOT_CAPTURING;
    if (captures) stream->capture = SPOILED;
    unlock();
    return captures ? CAPTURE_UNSUPPORTED : SUCCESS;
}

API cuStreamBeginCapture_v2(void *handle, int mode) {
    ENTER_IN_CONTEXT();
    if (is_legacy(handle)) return CAPTURE_UNSUPPORTED;
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    if (mode < MODE_GLOBAL || mode > MODE_RELAXED) return INVALID_VALUE;
    lock();
    bool idle = stream->capture == NOT_CAPTURING;
    if (idle) {
        stream->capture = CAPTURING, stream->capture_mode = mode, stream->capturer = pthread_self();
        stream->captured.count = 0;
    }
    unlock();
    if (idle) COUNT(captures);
    return idle ? SUCCESS : ILLEGAL_STATE;
}
API cuStreamIsCapturing(void *handle, int *status) {
    ENTER_IN_CONTEXT();
    if (is_legacy(handle)) {
        *status = NOT_CAPTURING;
        return SUCCESS;
    }
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    *status = stream->capture;
    return SUCCESS;
}
API cuStreamEndCapture(void *handle, void **graph) {
    ENTER_IN_CONTEXT();
    *graph = NULL;
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    if (stream->capture == NOT_CAPTURING) return ILLEGAL_STATE;
    if (stream->capture_mode != MODE_RELAXED && !pthread_equal(stream->capturer, pthread_self()))
        return CAPTURE_WRONG_THREAD;
    bool spoiled = stream->capture == SPOILED;
    stream->capture = NOT_CAPTURING;
    if (spoiled) return CAPTURE_INVALIDATED;
    Graph *made = new_object(GRAPH, sizeof *made);
    if (!made) return OUT_OF_MEMORY;
    made->nodes = stream->captured;
    memset(&stream->captured, 0, sizeof stream->captured);
    COUNT(graphs_created);
    *graph = made;
    return SUCCESS;
}
/* For what fails while it is being captured: TensorRT's first enqueue, which initialises. */
API doubles_spoil_capture(void *handle) {
    Stream *stream = find_object(STREAM, handle);
    return stream ? not_capturing(stream) : INVALID_HANDLE;
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

API cuStreamCreateWithPriority(void **handle, unsigned flags, int priority) {
    ENTER_IN_CONTEXT();
    (void)priority;
    if (flags & ~(unsigned)STREAM_NON_BLOCKING) return INVALID_VALUE;
    Stream *stream = new_object(STREAM, sizeof *stream);
    if (!stream) return OUT_OF_MEMORY;
    stream->flags = flags;
    COUNT(streams_created);
    *handle = stream;
    return SUCCESS;
}
API cuStreamCreate(void **handle, unsigned flags) {
    ENTER();
    return cuStreamCreateWithPriority(handle, flags, 0);
}
API cuStreamDestroy_v2(void *handle) {
    ENTER_IN_CONTEXT();
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    wait_for_stream(stream, false);
    free(stream->queue.items);
    free(stream->captured.items);
    delete_object(stream);
    COUNT(streams_destroyed);
    return SUCCESS;
}
API cuStreamSynchronize(void *handle) {
    ENTER_IN_CONTEXT();
    COUNT(synchronisations);
    if (is_legacy(handle)) return enter_legacy();
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    Result failure = not_capturing(stream);
    return failure ? failure : wait_for_stream(stream, true);
}
/* Whoever asks often enough sees the work done, but never at the first time of asking. */
API cuStreamQuery(void *handle) {
    ENTER_IN_CONTEXT();
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return is_legacy(handle) ? SUCCESS : INVALID_HANDLE;
    Result failure = not_capturing(stream);
    if (failure) return failure;
    bool pending = stream->queue.count > 0;
    wait_for_stream(stream, false);
    return pending ? NOT_READY : SUCCESS;
}
API cuStreamGetFlags(void *handle, unsigned *flags) {
    ENTER_IN_CONTEXT();
    Stream *stream = find_object(STREAM, handle);
    if (!stream) return INVALID_HANDLE;
    *flags = stream->flags;
    return SUCCESS;
}
API cuLaunchHostFunc(void *handle, HostFn function, void *data) {
    ENTER_IN_CONTEXT();
    COUNT(host_functions);
    return put(handle, (Operation){.kind = HOST_FUNCTION, .function = function, .data = data});
}
