/* Running a model on samples that need not fit into memory: some rows are read, run and written,
 * and then the next. */
#ifndef OX_CLI_STREAM_H
#define OX_CLI_STREAM_H

#include "part.h"
#include "samples.h"
#include "source.h"

/* Bytes of samples from which on they are not read at once. */
#define OX_STREAM_FROM ((uint64_t)256 << 20)

typedef struct ox_stream {
    bool streamed; /* whether a run is one */
    const char *model;
    const ox_samples *samples;
    const char *output;    /* NULL: nothing is written */
    int64_t shard, shards; /* which part of the rows, from 1 on */
    bool resume;
    bool strict;
    unsigned settings;  /* others on which results depend */
    uint64_t run_bytes; /* see ox_stream_bytes */
} ox_stream;

/* Reads "I/N"; false where it is none. */
bool ox_stream_shard(const char *text, ox_stream *stream);

/* What a run of an explained model takes for one sample; 0 where that is not known. */
uint64_t ox_stream_bytes(const ox_model *model);

/* Runs all rows of the shard. They are cut into the same batches whatever was complete before, so
 * that the result has the same bytes. SIGINT, SIGTERM and SIGHUP end it after the rows under way,
 * which are kept: false, and `signal` says which; a second one ends the process. */
bool ox_stream_run(const ox_stream *stream, ox_source *source, ox_session *session,
                   const ox_signature *signature, ox_reached *reached, int *signal, ox_error *err);

#endif
