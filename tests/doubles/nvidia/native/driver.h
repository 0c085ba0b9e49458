/* A libcuda.so.1 whose device is the CPU: what the driver promises about order, lifetimes and errors, without a GPU.
 *
 * Streams are lazy: what is put on one runs when somebody waits for it. Whoever reads a result before waiting, or
 * refills an input while its copy is pending, gets wrong numbers here every time, not once a week.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int Result;
typedef unsigned long long DevicePtr;
typedef void (*HostFn)(void *);

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    NOT_READY = 600,
    CONTEXT_IS_DESTROYED = 709,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905,
    CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
    CAPTURE_WRONG_THREAD = 908,
};

/* Counters, in the order that the Python side reads them. */
#define COUNTERS(X) \
    X(device_allocations) X(device_frees) X(host_allocations) X(host_frees) \
    X(tensorrt_allocations) X(tensorrt_frees) \
    X(streams_created) X(streams_destroyed) X(events_created) X(events_destroyed) \
    X(graphs_created) X(graphs_destroyed) X(graph_execs_created) X(graph_execs_destroyed) \
    X(contexts_created) X(contexts_destroyed) X(contexts_retained) X(contexts_released) \
    X(copies) X(host_functions) X(graph_launches) X(captures) X(synchronisations)
enum {
#define AS_ENUM(name) COUNT_##name,
    COUNTERS(AS_ENUM)
#undef AS_ENUM
        COUNTER_TOTAL
};
extern long counters[COUNTER_TOTAL];
#define COUNT(name) __atomic_add_fetch(&counters[COUNT_##name], 1, __ATOMIC_SEQ_CST)

/* One lock for all tables. It is never held while a host function runs: that one may need Python's own lock. */
extern pthread_mutex_t big_lock;
static inline void lock(void) { pthread_mutex_lock(&big_lock); }
static inline void unlock(void) { pthread_mutex_unlock(&big_lock); }

#define DRIVER_VERSION 13000
void set_default_attributes(void);
Result injected(const char *function); /* the error that a test asked this function to fail with, else 0 */
Result context_error(void);            /* 0 where this thread has a live current context */
Result unsafe_call(void);              /* 0 unless a capture forbids it; then the capture is spoiled, as by the driver */
Result wait_for_everything(bool blocking_streams_only); /* runs what is pending on streams nobody else is running */

bool find_memory(uintptr_t address, size_t bytes, bool on_device);

/* Every entry point begins with one of these. */
#define ENTER() \
    do { \
        Result failure_ = injected(__func__); \
        if (failure_) return failure_; \
    } while (0)
#define ENTER_IN_CONTEXT() \
    do { \
        Result failure_ = injected(__func__); \
        if (!failure_) failure_ = context_error(); \
        if (failure_) return failure_; \
    } while (0)
/* The visible functions are declared by the headers of CUDA, which are not needed to build this. */
#define API __attribute__((visibility("default"))) Result
