/* Devices and contexts. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

#define TOTAL_MEMORY ((size_t)8 << 30)
#define STACK_DEPTH 64
#define CONTEXTS 64
#define ATTRIBUTES 160

/* --- devices ----------------------------------------------------------------------------------------------------- */

enum { CAN_MAP_HOST = 19, INTEGRATED = 18, UNIFIED_ADDRESSING = 41, MAJOR = 75, MINOR = 76 };
static const struct { int attribute, value; } DEFAULTS[] = {
    {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {10, 32}, {13, 1300000}, {16, 16}, {INTEGRATED, 0}, {CAN_MAP_HOST, 1},
    {UNIFIED_ADDRESSING, 1}, {MAJOR, 8}, {MINOR, 7}, {83, 1}, {89, 0},
};
static int attributes[ATTRIBUTES];
static bool initialised;

__attribute__((constructor)) void set_default_attributes(void) {
    memset(attributes, 0, sizeof attributes);
    for (size_t i = 0; i < sizeof DEFAULTS / sizeof *DEFAULTS; i++) attributes[DEFAULTS[i].attribute] = DEFAULTS[i].value;
}

API doubles_set_attribute(int attribute, int value) {
    if (attribute < 0 || attribute >= ATTRIBUTES) return INVALID_VALUE;
    attributes[attribute] = value;
    return SUCCESS;
}

#define CHECK_DEVICE(device) \
    do { \
        if (!initialised) return NOT_INITIALIZED; \
        if ((device) != 0) return INVALID_DEVICE; \
    } while (0)

API cuInit(unsigned flags) {
    ENTER();
    initialised = true;
    return flags ? INVALID_VALUE : SUCCESS;
}
API cuDriverGetVersion(int *version) {
    ENTER();
    *version = DRIVER_VERSION;
    return SUCCESS;
}
API cuDeviceGetCount(int *count) {
    ENTER();
    if (!initialised) return NOT_INITIALIZED;
    *count = 1;
    return SUCCESS;
}
API cuDeviceGet(int *device, int ordinal) {
    ENTER();
    CHECK_DEVICE(ordinal);
    *device = ordinal;
    return SUCCESS;
}
API cuDeviceGetName(char *name, int size, int device) {
    ENTER();
    CHECK_DEVICE(device);
    snprintf(name, (size_t)size, "Simulated GPU");
    return SUCCESS;
}
API cuDeviceGetAttribute(int *value, int attribute, int device) {
    ENTER();
    CHECK_DEVICE(device);
    if (attribute < 1 || attribute >= ATTRIBUTES) return INVALID_VALUE;
    *value = attributes[attribute];
    return SUCCESS;
}
API cuDeviceComputeCapability(int *major, int *minor, int device) {
    ENTER();
    CHECK_DEVICE(device);
    *major = attributes[MAJOR], *minor = attributes[MINOR];
    return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t *bytes, int device) {
    ENTER();
    CHECK_DEVICE(device);
    *bytes = TOTAL_MEMORY;
    return SUCCESS;
}
API cuDeviceGetPCIBusId(char *id, int size, int device) {
    ENTER();
    CHECK_DEVICE(device);
    snprintf(id, (size_t)size, "0000:00:00.0");
    return SUCCESS;
}
API cuDeviceGetUuid_v2(char *uuid, int device) {
    ENTER();
    CHECK_DEVICE(device);
    memset(uuid, 0, 16);
    return SUCCESS;
}
API cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER_IN_CONTEXT();
    *available = *total = TOTAL_MEMORY;
    return SUCCESS;
}

/* --- contexts: the first is the device's primary one ------------------------------------------------------------- */

typedef struct { int references; unsigned flags; } Context;
static Context contexts[CONTEXTS];
static _Thread_local Context *stack[STACK_DEPTH];
static _Thread_local int depth;

static Context *current(void) { return depth ? stack[depth - 1] : NULL; }

static bool is_context(const void *context) {
    for (int i = 0; i < CONTEXTS; i++)
        if (context == &contexts[i]) return true;
    return false;
}

Result context_error(void) {
    if (!initialised) return NOT_INITIALIZED;
    if (!current()) return INVALID_CONTEXT;
    return current()->references ? SUCCESS : CONTEXT_IS_DESTROYED;
}

API cuDevicePrimaryCtxRetain(void **context, int device) {
    ENTER();
    CHECK_DEVICE(device);
    lock();
    contexts[0].references++;
    unlock();
    COUNT(contexts_retained);
    *context = &contexts[0];
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER();
    CHECK_DEVICE(device);
    lock();
    bool held = contexts[0].references > 0;
    if (held) contexts[0].references--;
    unlock();
    if (held) COUNT(contexts_released);
    return held ? SUCCESS : INVALID_CONTEXT;
}
API cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
API cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    ENTER();
    CHECK_DEVICE(device);
    *flags = contexts[0].flags, *active = contexts[0].references > 0;
    return SUCCESS;
}
API cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) {
    ENTER();
    CHECK_DEVICE(device);
    contexts[0].flags = flags;
    return SUCCESS;
}

API cuCtxPushCurrent_v2(void *context) {
    ENTER();
    if (!is_context(context) || depth == STACK_DEPTH) return INVALID_CONTEXT;
    stack[depth++] = context;
    return SUCCESS;
}
API cuCtxPopCurrent_v2(void **context) {
    ENTER();
    if (!depth) return INVALID_CONTEXT;
    Context *top = stack[--depth];
    if (context) *context = top;
    return SUCCESS;
}
API cuCtxSetCurrent(void *context) {
    ENTER();
    if (context && !is_context(context)) return INVALID_CONTEXT;
    if (depth) depth--;
    if (context) stack[depth++] = context;
    return SUCCESS;
}
API cuCtxGetCurrent(void **context) {
    ENTER();
    *context = current();
    return SUCCESS;
}
API cuCtxCreate_v2(void **context, unsigned flags, int device) {
    ENTER();
    CHECK_DEVICE(device);
    Context *made = NULL;
    lock();
    for (int i = 1; i < CONTEXTS && !made; i++)
        if (!contexts[i].references) made = &contexts[i];
    if (made) made->references = 1, made->flags = flags;
    unlock();
    if (!made || depth == STACK_DEPTH) return OUT_OF_MEMORY;
    COUNT(contexts_created);
    *context = stack[depth++] = made;
    return SUCCESS;
}
API cuCtxCreate_v4(void **context, void *parameters, unsigned flags, int device) {
    return parameters ? NOT_SUPPORTED : cuCtxCreate_v2(context, flags, device);
}
API cuCtxDestroy_v2(void *context) {
    ENTER();
    if (!is_context(context) || context == &contexts[0] || !((Context *)context)->references) return INVALID_CONTEXT;
    ((Context *)context)->references = 0;
    if (current() == context) depth--;
    COUNT(contexts_destroyed);
    return SUCCESS;
}
API cuCtxGetDevice(int *device) {
    ENTER_IN_CONTEXT();
    *device = 0;
    return SUCCESS;
}
API cuCtxGetFlags(unsigned *flags) {
    ENTER_IN_CONTEXT();
    *flags = current()->flags;
    return SUCCESS;
}
API cuCtxGetApiVersion(void *context, unsigned *version) {
    ENTER();
    (void)context;
    *version = DRIVER_VERSION;
    return SUCCESS;
}
API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    ENTER_IN_CONTEXT();
    *least = 0, *greatest = -5;
    return SUCCESS;
}
API cuCtxSynchronize(void) {
    ENTER_IN_CONTEXT();
    Result failure = unsafe_call();
    COUNT(synchronisations);
    return failure ? failure : wait_for_everything(false);
}

API doubles_context_depth(void) { return depth; }
