/* Streams, events and graphs, and what is put on them. */
#pragma once
#include "driver.h"

typedef enum { STREAM, EVENT, GRAPH, GRAPH_EXEC } Kind;
typedef struct Object {
    Kind kind;
    struct Object *next;
} Object;

typedef struct Event {
    Object object;
    int pending;   /* records that have not run yet */
    bool captured; /* last recorded into a capture: it has no time of its own */
    double time_ms;
    struct Stream *stream;
} Event;

typedef struct {
    enum { COPY, SET, HOST_FUNCTION, RECORD, WAIT } kind;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    HostFn function;
    void *data;
    Event *event;
} Operation;

typedef struct {
    Operation *items;
    size_t count, room;
} Operations;

typedef struct Stream {
    Object object;
    unsigned flags;
    Operations queue;
    bool running;
    pthread_t runner;
    enum { NOT_CAPTURING, CAPTURING, SPOILED } capture;
    int capture_mode;
    pthread_t capturer;
    Operations captured;
} Stream;

typedef struct {
    Object object;
    Operations nodes;
} Graph;

enum { STREAM_NON_BLOCKING = 1 };

void *new_object(Kind kind, size_t bytes);
void *find_object(Kind kind, const void *handle); /* NULL for a handle that is dead, or of another kind */
void delete_object(void *object);
Stream *first_stream(Stream *after);

bool append(Operations *operations, Operation operation);
Result put(void *stream, Operation operation); /* on the stream, or into what it captures */
Result wait_for_stream(Stream *stream, bool patient);
