/* Devices, contexts, injected faults and what the tests read. */
#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER_VERSION 13000
#define TOTAL_MEMORY ((size_t)8 << 30)
#define STACK_DEPTH 64
#define CONTEXTS 64
#define ATTRIBUTES 160

pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
long counters[COUNTER_TOTAL];

/* --- faults ------------------------------------------------------------------------------------------------------ */

typedef struct Fault {
    char function[64];
    int code, skip, times;
    struct Fault *next;
} Fault;
static Fault *faults;

Result injected(const char *function) {
    Result code = SUCCESS;
    lock();
    for (Fault *f = faults; f && !code; f = f->next) {
        if (strcmp(f->function, function) != 0 || f->times == 0) continue;
        if (f->skip > 0) f->skip--;
        else {
            if (f->times > 0) f->times--;
            code = f->code;
        }
    }
    unlock();
    return code;
}

/* `times` < 0: always. */
API doubles_fail(const char *function, int code, int skip, int times) {
    Fault *fault = calloc(1, sizeof *fault);
    if (!fault) return OUT_OF_MEMORY;
    snprintf(fault->function, sizeof fault->function, "%s", function);
    fault->code = code, fault->skip = skip, fault->times = times;
    lock();
    fault->next = faults, faults = fault;
    unlock();
    return SUCCESS;
}

/* --- devices ----------------------------------------------------------------------------------------------------- */

enum { CAN_MAP_HOST = 19, INTEGRATED = 18, UNIFIED_ADDRESSING = 41, MAJOR = 75, MINOR = 76 };
static const struct { int attribute, value; } DEFAULTS[] = {
    {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {10, 32}, {13, 1300000}, {16, 16}, {INTEGRATED, 0}, {CAN_MAP_HOST, 1},
    {UNIFIED_ADDRESSING, 1}, {MAJOR, 8}, {MINOR, 7}, {83, 1}, {89, 0},
};
static int attributes[ATTRIBUTES];
static bool initialised;

__attribute__((constructor)) static void set_default_attributes(void) {
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

/* --- errors and look-up ------------------------------------------------------------------------------------------ */

static const struct { int code; const char *name; } NAMES[] = {
    {SUCCESS, "CUDA_SUCCESS"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
    {NOT_READY, "CUDA_ERROR_NOT_READY"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
    {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"},
};

API cuGetErrorName(int code, const char **name) {
    *name = "CUDA_ERROR_UNKNOWN";
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (NAMES[i].code == code) *name = NAMES[i].name;
    return SUCCESS;
}
API cuGetErrorString(int code, const char **text) { return cuGetErrorName(code, text); }

/* A name stands for the newest form of a function; the older forms of those below have other arguments. */
static const char *const RENAMED[][2] = {{"cuGraphInstantiate", "cuGraphInstantiateWithFlags"}};

API cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, int *status) {
    static void *self;
    (void)version;
    (void)flags;
    if (!self) {
        Dl_info info;
        if (!dladdr((void *)(uintptr_t)cuInit, &info)) return NOT_FOUND;
        self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    }
    for (size_t i = 0; i < sizeof RENAMED / sizeof *RENAMED; i++)
        if (strcmp(name, RENAMED[i][0]) == 0) name = RENAMED[i][1];
    static const char *const SUFFIXES[] = {"_v4", "_v3", "_v2", ""};
    *function = NULL;
    for (int i = 0; i < 4 && !*function; i++) {
        char symbol[128];
        snprintf(symbol, sizeof symbol, "%s%s", name, SUFFIXES[i]);
        *function = dlsym(self, symbol);
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
API cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

/* --- what the tests read ----------------------------------------------------------------------------------------- */

API doubles_counter(int index, const char **name, long *value) {
    static const char *const names[] = {
#define AS_NAME(name) #name,
        COUNTERS(AS_NAME)
#undef AS_NAME
    };
    if (index < 0 || index >= COUNTER_TOTAL) return NOT_FOUND;
    *name = names[index], *value = counters[index];
    return SUCCESS;
}
API doubles_context_depth(void) { return depth; }
API doubles_has_context(void) { return context_error() == SUCCESS; }

/* Faults and changed attributes go; counters start again, though what lives lives on. */
API doubles_reset(void) {
    lock();
    while (faults) {
        Fault *next = faults->next;
        free(faults);
        faults = next;
    }
    memset(counters, 0, sizeof counters);
    unlock();
    set_default_attributes();
    return SUCCESS;
}
