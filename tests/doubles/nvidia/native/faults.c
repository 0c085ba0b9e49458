/* Injected faults, the names of errors and functions, and what the tests read. */
#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        if (!dladdr((void *)(uintptr_t)cuGetErrorName, &info)) return NOT_FOUND;
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
