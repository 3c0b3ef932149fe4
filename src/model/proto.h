/* What the files of this folder share: the generated protobuf types and what is done to them.
 * Nothing else includes this. */
#ifndef OX_MODEL_PROTO_H
#define OX_MODEL_PROTO_H

#include "graph/body.h"
#include "model/model.h"
#include "onnx-ml.pb-c.h"
#include "os.h"

/* protobuf-c has no const; nothing writes through these. */
#define TEXT(s) ((char *)(uintptr_t)(s))

/* A file of external data, or one without a name (""), mapped until the model is freed. */
typedef struct ox_mapping {
    const char *path;
    ox_os_info file; /* not of one without a name */
    void *data;
    size_t size;
} ox_mapping;

/* ---- model/proto.c ---------------------------------------------------------------------- */

/* A text that may be missing, as "". */
const char *ox_proto_text(const char *text);

/* A domain's name, "" for the default one in all its spellings. */
const char *ox_proto_domain(const char *domain);

/* An empty message, and a shallow copy of one. */
void *ox_proto_new(ox_arena *a, const ProtobufCMessageDescriptor *descriptor);
void *ox_proto_copy(ox_arena *a, const void *message);

/* A settled tensor as constant. */
ox_const *ox_proto_const(ox_arena *a, const Onnx__TensorProto *t);

/* The shape in a description of a tensor, NULL where there is none. */
const Onnx__TensorShapeProto *ox_proto_shape(const Onnx__ValueInfoProto *info);

/* Type, rank and dimensions of a tensor as described, where v has none. */
void ox_proto_describe(ox_val v, const Onnx__ValueInfoProto *info);

/* The attribute's AttributeType, by what it holds where it does not say. */
int ox_proto_kind(const Onnx__AttributeProto *p);

/* An attribute that is not a reference; `label` names its node in messages. */
ox_attr ox_proto_read_attr(ox_arena *a, const Onnx__AttributeProto *p, const char *label);

/* A node of g as p has it, without attributes and with room for inputs and outputs, which the
 * caller finds by their names. */
ox_node ox_proto_node(ox_graph *g, const Onnx__NodeProto *p);

/* What is called, where not NULL, on the way through a graph and those in its nodes: when a graph
 * begins, for a node before the graphs in it, when a graph has ended. */
typedef struct ox_proto_walk {
    void (*enter)(void *user, Onnx__GraphProto *g);
    void (*node)(void *user, Onnx__NodeProto *n);
    void (*leave)(void *user, Onnx__GraphProto *g);
    void *user;
} ox_proto_walk;

void ox_proto_walk_graph(const ox_proto_walk *w, Onnx__GraphProto *g);
void ox_proto_walk_node(const ox_proto_walk *w, Onnx__NodeProto *n);
void ox_proto_walk_attribute(const ox_proto_walk *w, Onnx__AttributeProto *p);

/* "function f, node 3 "x" (Add)" */
const char *ox_proto_function_label(ox_arena *a, const Onnx__FunctionProto *f, size_t node);

/* ---- model/model.c ---------------------------------------------------------------------- */

/* How the model that was read describes a graph input or output, NULL for others. */
const Onnx__ValueInfoProto *ox_model_hint(const ox_model *m, const char *name);

/* Enters a function; of those of one name the first counts. */
void ox_model_add_local(ox_model *m, ox_local_function *f);

/* The symbolic name of dimension `axis` of `v`, "" where it has none; `info` may be NULL. */
const char *ox_model_symbol(const ox_model *m, ox_val v, int axis,
                            const Onnx__ValueInfoProto *info);

/* ---- model/tensor.c --------------------------------------------------------------------- */

/* Brings every tensor of the model into one form, raw_data: typed fields are converted, external
 * data is mapped from `folder` (NULL: refused), sparse initializers become dense. Gives up where
 * a tensor's shape and data disagree, and where data is neither in `folder` nor in `home` (NULL:
 * none), links followed. */
void ox_model_settle(ox_model *m, Onnx__ModelProto *p, const char *folder, const char *home);

/* Puts nodes behind those that they use, where they are not; leaves those that go round. */
void ox_proto_sort(ox_arena *a, Onnx__GraphProto *g);

/* ---- model/read.c ----------------------------------------------------------------------- */

/* ox_parse where external data may also lie in `home`, the folder that the model's file is really
 * in; NULL: none. */
ox_model *ox_parse_linked(const void *data, size_t size, const char *folder, const char *home,
                          uint64_t limit, ox_error *err);

/* ---- model/body.c ----------------------------------------------------------------------- */

/* Reads the graphs in the attributes of n, a node of the model's graph which `label` names. Gives
 * up where one uses a name that neither it nor the graph around it defines before, and where one of
 * its nodes is not as its operator's schema says. */
void ox_model_read_bodies(const ox_model *m, const ox_node *n, ox_attr *attrs, const char *label);

/* A model-local function as a graph, and the attributes that its calls may leave out. */
typedef struct ox_function_body {
    const ox_local_function *function;
    ox_graph *graph;
    ox_attr *defaults;
    size_t default_count;
} ox_function_body;

ox_function_body *ox_model_read_function(const ox_model *m, const ox_local_function *f);

/* ---- model/check.c ---------------------------------------------------------------------- */

/* Gives up where a node has not the inputs, outputs and attributes of its operator, at `version`
 * of its domain. `label` names the node; or, with `inside`, the one that it is a subgraph's of. */
void ox_check_proto(const ox_model *m, const Onnx__NodeProto *p, int64_t version, const char *label,
                    bool inside);
void ox_check_node(const ox_model *m, const ox_node *n, int64_t version, const char *label,
                   bool inside);

/* ---- model/describe.c ------------------------------------------------------------------- */

/* The description of a value; `info` is how the model that was read has it, or NULL. */
Onnx__ValueInfoProto *ox_proto_write_value(ox_arena *a, const ox_model *m, ox_val v,
                                           const Onnx__ValueInfoProto *info);

/* ---- model/write.c ---------------------------------------------------------------------- */

/* A tensor whose contents may be moved to the file of external data. Those of a body are its
 * initializers, one after the other. */
typedef struct ox_placed {
    Onnx__TensorProto *tensor;
    Onnx__GraphProto *graph; /* that has it */
    const char *name;        /* of its value */
    size_t at;               /* the node of the main graph, counted from 1; 0: none */
} ox_placed;

typedef struct ox_file {
    Onnx__ModelProto *proto;
    ox_placed *tensors;
    size_t tensor_count;
} ox_file;

/* The model as protobuf structures in `a`, which share the weights. */
void ox_model_build(ox_arena *a, const ox_model *m, ox_file *out);

/* ---- model/share.c ---------------------------------------------------------------------- */

/* Lets bodies read large weights of the main graph in place of their own copies. */
void ox_model_share(ox_arena *a, ox_file *file);

/* ---- model/pack.c ----------------------------------------------------------------------- */

/* Sends a message to `sink` piece by piece, without a copy of what is large. */
bool ox_proto_pack(ox_arena *a, const ox_model *m, const ProtobufCMessage *message, ox_sink sink,
                   void *user);

#endif
