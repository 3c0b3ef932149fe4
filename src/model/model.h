/* A model: the file it came from and the graph made of it. model/read.c fills it, model/write.c
 * writes it; nothing else sees protobuf. */
#ifndef OX_MODEL_H
#define OX_MODEL_H

#include <stdatomic.h>

#include "graph/graph.h"

typedef struct ox_property {
    const char *key, *value;
} ox_property;

/* A model-local function as it was read; lift.c inlines the calls. Node inputs and outputs are
 * given by name in the protos that `nodes` point to. */
typedef struct ox_local_function {
    const char *domain, *name, *overload;
    const void *proto; /* FunctionProto */
} ox_local_function;

struct ox_model {
    ox_arena *arena;
    atomic_int uses;    /* by its owner and by models that share its weights */
    ox_model **sources; /* whose weights are shared */
    size_t source_count;
    const void *proto; /* ModelProto that was read: doc_string, producer, unknown fields */
    ox_graph *graph;
    int64_t ir_version;
    size_t opset_count, property_count, local_count, mapping_count;
    ox_import *opsets;
    ox_property *properties;
    ox_local_function *locals;
    ox_table opset_index, property_index;   /* by name */
    ox_table input_index;                   /* of `inputs`, by name */
    ox_table local_table;                   /* the locals; see ox_model_local */
    ox_table function_bodies;               /* those of the locals that were called */
    ox_table hints;                         /* ValueInfoProto of inputs and outputs as read */
    const char *batch_symbol, *refs_symbol; /* of dimensions that the model gives no name */
    struct ox_mapping *mappings;            /* files of external data */
    ox_value_info *inputs, *outputs;        /* public view; counts are those of the graph */
};

/* Builds inputs and outputs of the public view from the graph. */
void ox_model_publish(ox_model *m);

/* The public view of some values of its graph. */
ox_value_info *ox_model_infos(const ox_model *m, size_t count, const ox_val *values);

/* A new model that shares the weights of `source` and keeps it alive; its graph is a copy whose
 * nodes and values may be changed. Called inside ox_arena_try of the new model's arena. */
void ox_model_copy(ox_model *to, ox_model *source);

/* The model, which now is to be freed once more. */
ox_model *ox_model_keep(const ox_model *m);

/* Keeps `source` alive, whose weights `to` has. */
void ox_model_share_weights(ox_model *to, ox_model *source);

/* Lowers the IR version to what the model has of it: never above its own, but to 8 where it has
 * functions. False and err without memory. */
bool ox_model_lower_ir(ox_model *m, ox_error *err);

/* An empty model with an arena of its own, NULL without memory. */
ox_model *ox_model_new(ox_error *err);

/* Reads the nodes of a model-local function's body into `g`: the function's formal inputs are
 * bound to `inputs` (NULL for those left out), its attributes to those of `call`; names are
 * made unique with `prefix`. Returns the values of its outputs, count in *output_count. */
ox_val *ox_model_inline(ox_model *m, ox_graph *g, const ox_local_function *f, const ox_node *call,
                        const char *prefix, size_t *output_count);

/* Room for contents of any size, in a file that the model owns where it is large; gives up where
 * there is none. And what of it, or of external data, need not stay in memory for now. spill.c. */
void *ox_model_spill(ox_model *m, size_t size);
void ox_model_drop(const ox_model *m, const void *data, size_t size);

/* The model-local function that is called so, or NULL. */
const ox_local_function *ox_model_local(const ox_model *m, const char *domain, const char *op);

int64_t ox_model_opset(const ox_model *m, const char *domain);
void ox_model_set_opset(ox_model *m, const char *domain, int64_t version);
void ox_model_set_property(ox_model *m, const char *key, const char *value);

#endif
