/* Memory of the device (filled with rubbish, so that nobody relies on zeros) and page-locked memory of the host. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

enum { DEVICE, HOST, HOST_MAPPED, OF_TENSORRT };
enum { FLAG_DEVICEMAP = 2 };

typedef struct Block {
    uintptr_t address;
    size_t bytes;
    int kind;
    struct Block *next;
} Block;
static Block *blocks;

static Result allocate(uintptr_t *address, size_t bytes, int kind) {
    void *memory = NULL;
    if (!bytes) return INVALID_VALUE;
    Block *block = calloc(1, sizeof *block);
    if (!block || posix_memalign(&memory, 4096, bytes)) {
        free(block);
        return OUT_OF_MEMORY;
    }
    memset(memory, 0xA5, bytes);
    *block = (Block){(uintptr_t)memory, bytes, kind, NULL};
    lock();
    block->next = blocks, blocks = block;
    unlock();
    *address = block->address;
    return SUCCESS;
}

static Result release(uintptr_t address, bool of_host, bool of_tensorrt) {
    Block *found = NULL;
    lock();
    for (Block **at = &blocks; *at && !found; at = *at ? &(*at)->next : at) {
        bool host = (*at)->kind == HOST || (*at)->kind == HOST_MAPPED;
        if ((*at)->address != address || host != of_host || ((*at)->kind == OF_TENSORRT) != of_tensorrt) continue;
        found = *at;
        *at = found->next;
        break;
    }
    unlock();
    if (!found) return INVALID_VALUE;
    free((void *)found->address);
    free(found);
    return SUCCESS;
}

/* Memory a kernel may touch (`on_device`), or page-locked memory of the host. */
bool find_memory(uintptr_t address, size_t bytes, bool on_device) {
    bool found = false;
    lock();
    for (const Block *b = blocks; b && !found; b = b->next) {
        bool fits = on_device ? b->kind != HOST : b->kind == HOST || b->kind == HOST_MAPPED;
        found = fits && address >= b->address && bytes <= b->bytes && address - b->address <= b->bytes - bytes;
    }
    unlock();
    return found;
}
API doubles_find_memory(DevicePtr address, size_t bytes) { return find_memory((uintptr_t)address, bytes, true); }

API cuMemAlloc_v2(DevicePtr *pointer, size_t bytes) {
    ENTER_IN_CONTEXT();
    Result failure = unsafe_call();
    uintptr_t address = 0;
    if (!failure) failure = allocate(&address, bytes, DEVICE);
    if (failure) return failure;
    COUNT(device_allocations);
    *pointer = address;
    return SUCCESS;
}
API cuMemFree_v2(DevicePtr pointer) {
    ENTER_IN_CONTEXT();
    Result failure = unsafe_call();
    if (failure) return failure;
    wait_for_everything(false);
    failure = release((uintptr_t)pointer, false, false);
    if (!failure) COUNT(device_frees);
    return failure;
}
API cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    ENTER_IN_CONTEXT();
    Result failure = unsafe_call();
    uintptr_t address = 0;
    if (!failure) failure = allocate(&address, bytes, flags & FLAG_DEVICEMAP ? HOST_MAPPED : HOST);
    if (failure) return failure;
    COUNT(host_allocations);
    *pointer = (void *)address;
    return SUCCESS;
}
API cuMemFreeHost(void *pointer) {
    ENTER_IN_CONTEXT();
    Result failure = unsafe_call();
    if (failure) return failure;
    wait_for_everything(false);
    failure = release((uintptr_t)pointer, true, false);
    if (!failure) COUNT(host_frees);
    return failure;
}
API cuMemHostGetDevicePointer_v2(DevicePtr *device, void *host, unsigned flags) {
    ENTER_IN_CONTEXT();
    if (flags || !find_memory((uintptr_t)host, 1, true)) return INVALID_VALUE;
    *device = (uintptr_t)host;
    return SUCCESS;
}

/* What an engine or a context of TensorRT takes for itself: counted apart, failed by this name. */
API doubles_tensorrt_allocate(DevicePtr *pointer, size_t bytes) {
    Result failure = injected("tensorrt_allocation");
    if (!failure) failure = context_error();
    if (!failure) failure = unsafe_call();
    uintptr_t address = 0;
    if (!failure) failure = allocate(&address, bytes, OF_TENSORRT);
    if (failure) return failure;
    COUNT(tensorrt_allocations);
    *pointer = address;
    return SUCCESS;
}
API doubles_tensorrt_free(DevicePtr pointer) {
    Result failure = context_error();
    if (release((uintptr_t)pointer, false, true) == SUCCESS) COUNT(tensorrt_frees);
    return failure;
}
