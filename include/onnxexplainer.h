/* onnxexplainer: prediction and Shapley values of an ONNX model in one call.
 *
 *     ox_error err;
 *     ox_model *model = ox_read("model.onnx", &err);
 *     ox_options options = OX_OPTIONS_INIT;
 *     options.references = &references;       an ox_tensor of R rows
 *     options.reference_count = 1;
 *     ox_model *explained = ox_explain(model, &options, &err);
 *     ox_write(explained, "explained.onnx", &err);
 *     ox_free(explained);
 *     ox_free(model);
 *
 * For a sample x and references r_1..r_R the explained model adds to the outputs
 * of the original, in this order:
 *
 *     <input>_shap       SHAP values: mean over r of m(x, r) (x - r), shaped like the input,
 *                        with a target axis K after the batch axis when there are several targets
 *     shap_target        int64 [N] or [N, K], flat index of the explained output value, -1 for sums
 *     base_value         [N] or [N, K], mean over r of f(r)
 *     completeness_gap   [N] or [N, K], f(x) - base_value - sum(phi), when asked for: what
 *                        rounding on the way makes the sum miss
 *
 * Other methods than DeepSHAP (options.method) give values of another formula under the same names,
 * and "permutation" their standard errors as <input>_shap_error behind each of them.
 *
 * Functions that can fail take an ox_error last (NULL is allowed), return NULL or false,
 * and leave their arguments as they were. The library never prints and never exits.
 * Arguments are checked: what is out of range, without its data or not UTF-8 is refused with
 * OX_ARGUMENT. So is NULL, but where it is said to be allowed.
 * Different threads may use different objects at the same time; one ox_session may
 * run in several threads at once. Strings are UTF-8. */
#ifndef ONNXEXPLAINER_H
#define ONNXEXPLAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define OX_API
#else
#define OX_API __attribute__((visibility("default")))
#endif

#define OX_VERSION "0.1.0"

/* ---- errors ---------------------------------------------------------------------------- */

/* What a program would branch on. */
typedef enum ox_code {
    OX_OK = 0,
    OX_ARGUMENT,    /* an option or an argument that cannot be used */
    OX_INVALID,     /* a model or tensor that breaks the rules of its format */
    OX_UNSUPPORTED, /* a valid model that cannot be explained: no rule, no shape */
    OX_IO,          /* a file that cannot be read or written */
    OX_MEMORY,      /* no memory */
    OX_RUNTIME,     /* ONNX Runtime is missing or refuses */
    OX_LIMIT        /* more is made of a model than its limit allows */
} ox_code;

/* The caller's to allocate; `message` is one line without full stop that names the culprit. */
typedef struct ox_error {
    ox_code code;
    char message[512];
} ox_error;

/* ---- tensors --------------------------------------------------------------------------- */

/* Element types, numbered as in ONNX TensorProto.DataType. */
typedef enum ox_type {
    OX_NONE = 0,
    OX_FLOAT = 1,
    OX_UINT8 = 2,
    OX_INT8 = 3,
    OX_UINT16 = 4,
    OX_INT16 = 5,
    OX_INT32 = 6,
    OX_INT64 = 7,
    OX_STRING = 8,
    OX_BOOL = 9,
    OX_FLOAT16 = 10,
    OX_DOUBLE = 11,
    OX_UINT32 = 12,
    OX_UINT64 = 13,
    OX_BFLOAT16 = 16
} ox_type;

/* A dense tensor in row-major (C) order. `data` holds the product of `dims` elements, without
 * gaps; `rank` 0 is a scalar, and a dimension may be 0. Tensors that the caller passes in are
 * only read. Tensors that the library returns are released by ox_tensor_free. Elements of type
 * OX_STRING are pointers to their text, UTF-8 that ends with a zero byte. */
typedef struct ox_tensor {
    const char *name;
    ox_type type;
    int rank;
    const int64_t *dims;
    const void *data;
} ox_tensor;

/* Bytes of one element, of a string those of the pointer to it; 0 for other types. */
OX_API size_t ox_type_size(ox_type type);

/* "float32", "int64", ... as NumPy spells them; "?" for unknown ones. */
OX_API const char *ox_type_name(ox_type type);

/* Releases what the library allocated for `tensor` (name, dims, data) and clears it.
 * NULL and cleared tensors are allowed. */
OX_API void ox_tensor_free(ox_tensor *tensor);

/* ---- models ---------------------------------------------------------------------------- */

/* A model in memory. Unchangeable once made: it may be shared between threads. */
typedef struct ox_model ox_model;

/* An input or output of a model. `rank` is -1 where the model does not say; `dims` holds -1 for
 * free dimensions, whose symbolic names stand in `symbols` ("" for nameless ones). Not a tensor
 * (sequence, map, optional): type OX_NONE. */
typedef struct ox_value_info {
    const char *name;
    ox_type type;
    int rank;
    const int64_t *dims;
    const char *const *symbols;
} ox_value_info;

/* Reads a model file. External data is mapped: its files may be replaced while the model is in use,
 * not changed. They lie in the model's folder or below, also where links lead; others are refused.
 * NULL and err on failure. */
OX_API ox_model *ox_read(const char *path, ox_error *err);

/* Reads a model from memory; the bytes may go afterwards. External data is looked for in `folder`
 * (NULL: refused). */
OX_API ox_model *ox_parse(const void *data, size_t size, const char *folder, ox_error *err);

/* The same with a limit of their own: the bytes that may be made of the model, here and in what it
 * is given to, besides 16 times the bytes of its file. 0: 1 GB. A limit of 1 GB also stands for
 * 262144 nodes that calls of functions, loops and recurrent layers are written out as, and 2^27
 * elements that are gone through one by one; others in proportion. OX_LIMIT beyond. */
OX_API ox_model *ox_read_limited(const char *path, uint64_t limit, ox_error *err);
OX_API ox_model *ox_parse_limited(const void *data, size_t size, const char *folder, uint64_t limit,
                                  ox_error *err);

/* Makes one model of several, in the order in which they follow each other: inputs of each are fed
 * by outputs of those before it. "OUTPUT:INPUT" in `connect` says what feeds what (OUTPUT may be a
 * tensor inside; 1/OUTPUT:2/INPUT where several models have such names); what it leaves open goes
 * by name, and a model with one input takes the one output of the model before. A free input that
 * two models have is one. The outputs are those of the last model, then those of the others that
 * feed nothing; of other names that two models have one gets a number. Models of different opsets
 * are brought to the latest, at least 18, and their functions written out. Of metadata that differ
 * the later model's are taken. The result keeps what it needs of `models`, which may be freed. */
OX_API ox_model *ox_stack(const ox_model *const *models, size_t count, const char *const *connect,
                          size_t connect_count, ox_error *err);

/* Writes `model` to `path`, whole or not at all, as ox_output_open does. It is one file up to the
 * 2 GB of protobuf; beyond, weights go to a second one. That is called `path`.HASH.data after its
 * contents, so that a model never meets data of another: the one before keeps its own until the new
 * one has replaced it, then its file is removed, unless `model` itself uses it. */
OX_API bool ox_write(const ox_model *model, const char *path, ox_error *err);

/* The same with weights in the second file in any case, which ONNX Runtime maps. */
OX_API bool ox_write_split(const ox_model *model, const char *path, ox_error *err);

/* Whether `path` is a file that weights of the model are read from. */
OX_API bool ox_uses(const ox_model *model, const char *path);

/* Called with consecutive pieces of the file; returns false to stop. */
typedef bool (*ox_sink)(void *user, const void *data, size_t size);

/* Sends the model's bytes to `sink`; fails with OX_UNSUPPORTED where they need a second file. */
OX_API bool ox_serialize(const ox_model *model, ox_sink sink, void *user, ox_error *err);

/* ---- output files ---------------------------------------------------------------------- */

/* A file that appears at its path whole or not at all. */
typedef struct ox_output ox_output;

/* Begins a file. It is written beside its place under the name `path`.PID-N.tmp, which goes when it
 * is done or given up; what a killed process has left there the next one for the same path removes.
 * Links are followed, and a file that is replaced leaves its permissions to the new one. Devices
 * and pipes are written directly. Writing fails where SIGINT, SIGTERM or SIGHUP is blocked and
 * pending: who blocks them meanwhile leaves nothing behind. NULL and err on failure. */
OX_API ox_output *ox_output_open(const char *path, ox_error *err);

/* Whether a path is one to write directly: a device, a pipe, /dev/stdout. */
OX_API bool ox_output_is_direct(const char *path);

/* Adds bytes; an ox_sink whose user is an ox_output. False on failure, which ox_output_close will
 * tell. */
OX_API bool ox_output_write(void *output, const void *data, size_t size);

/* Goes on at a position, counted in bytes. Devices and pipes fail. */
OX_API bool ox_output_seek(ox_output *output, uint64_t position);

/* Ends and frees it: puts the file in its place if `keep`, synced to disk, else removes it. True
 * where it stands; false, and err where writing failed at any time. */
OX_API bool ox_output_close(ox_output *output, bool keep, ox_error *err);

/* Frees the model and everything that was read from it. NULL is allowed. */
OX_API void ox_free(ox_model *model);

/* The model's inputs (without those that are initializers) and outputs; they live as long as it.
 * NULL for `count` is allowed; a NULL model has none, here and below. */
OX_API const ox_value_info *ox_inputs(const ox_model *model, size_t *count);
OX_API const ox_value_info *ox_outputs(const ox_model *model, size_t *count);

/* Version of the default operator set ("" or NULL for `domain`) or of another domain; 0 if not
 * imported. */
OX_API int64_t ox_opset(const ox_model *model, const char *domain);

/* IR version of the file format. */
OX_API int64_t ox_ir_version(const ox_model *model);

/* Value of a metadata property, NULL where there is none; lives as long as the model. */
OX_API const char *ox_metadata(const ox_model *model, const char *key);

/* A node of a model's graph. An input that is left out, or an output, is "". */
typedef struct ox_node_info {
    size_t index; /* its position in the file that was read */
    const char *name;
    const char *op;
    const char *domain;        /* "" for the default one */
    const char *const *inputs; /* its own, then what its subgraphs use of the graph, once per use */
    size_t input_count;
    const char *const *outputs;
    size_t output_count;
} ox_node_info;

typedef struct ox_node_list {
    const ox_node_info *nodes; /* in topological order */
    size_t count;
    void *memory; /* the library's */
} ox_node_list;

/* The nodes of a model and, by the names of values, its edges. Names are the model's, which must
 * live as long. Release with ox_nodes_free, which allows NULL. NULL and err on failure. */
OX_API ox_node_list *ox_nodes(const ox_model *model, ox_error *err);
OX_API void ox_nodes_free(ox_node_list *list);

/* ---- explaining ------------------------------------------------------------------------ */

/* Where the references come from. */
typedef enum ox_reference_source {
    OX_REFERENCES_GIVEN, /* options.references, kept in the explained model */
    OX_REFERENCES_INPUT, /* new inputs `<input>_references` of the explained model */
    OX_REFERENCES_FILL,  /* one reference of the sample's own shape, all options.fill */
    OX_REFERENCES_PAIRED /* new inputs `<input>_references` with one reference for each sample */
} ox_reference_source;

/* What is kept of the references. */
typedef enum ox_cache {
    OX_CACHE_AUTO, /* load where it folds and is not large; else file where options.evaluate is
                    * given, else none */
    OX_CACHE_LOAD, /* the reference branch is in the graph; ONNX Runtime folds it at load */
    OX_CACHE_FILE, /* their activations are in the model */
    OX_CACHE_NONE  /* the reference branch runs every time */
} ox_cache;

/* Runs `model` on `inputs` (by name) and fills `outputs` (in the model's order) with tensors to be
 * released by ox_tensor_free. */
typedef bool (*ox_evaluate)(void *user, const ox_model *model, const ox_tensor *inputs,
                            size_t input_count, ox_tensor *outputs, size_t output_count,
                            ox_error *err);

/* Receives a one-line remark, such as the cache mode chosen. */
typedef void (*ox_note)(void *user, const char *message);

/* Starts as OX_OPTIONS_INIT; fields that are 0 or NULL have their defaults. Later versions add
 * fields at the end: what a program does not know of, as its `size` says, has its default. */
typedef struct ox_options {
    size_t size; /* of this struct, set by OX_OPTIONS_INIT; 0 is refused */

    /* One tensor per explained input, found by `name` (NULL for a model with one explained
     * input), the R references along the batch axis, paired by row over the inputs. */
    const ox_tensor *references;
    size_t reference_count;
    ox_reference_source reference_source;
    double fill; /* finite, and within what the input's type holds */

    const char *target;      /* the grammar of docs/design.md; NULL: "top" */
    const char *output_name; /* the tensor to explain; NULL: first floating-point output */
    const char *prefix;      /* put before the names of our outputs and inputs; NULL: none */
    const char *const *hold; /* inputs and tensors that keep the sample's value on both sides */
    size_t hold_count;
    const char *const *at; /* tensors to explain in place of the inputs: `<tensor>_shap` */
    size_t at_count;

    ox_cache cache;
    ox_type cache_dtype; /* of what is kept: OX_FLOAT16 halves it; else as it is */
    int64_t chunk;       /* references per step of a Scan; 0: decided from `memory` */
    uint64_t memory;     /* bytes that a run may take besides model and results; 0: 2 GB */
    uint64_t limit;      /* see ox_read_limited; 0: that of the model */
    bool gap;            /* add completeness_gap */
    bool no_functions;   /* inline the bodies of our functions */
    bool force;          /* explain although completeness is lost where multipliers cannot pass */
    bool no_batch;       /* the model has no batch axis; references have one of their own */

    /* Points, at most OX_MAX_POINTS; > 0: the rules of integrate_ops (none: Softmax, LogSoftmax,
     * MaxPool, GlobalMaxPool, LayerNormalization) become integrals. */
    int integrate;
    const char *const *integrate_ops;
    size_t integrate_op_count;

    /* Kept in the metadata: one for every value of a sample, over all explained inputs, or for
     * every one along the last axis of an input. All differ. */
    const char *const *feature_names;
    size_t feature_count;

    ox_evaluate evaluate; /* for OX_CACHE_FILE: see ox_evaluate_runtime */
    void *evaluate_user;
    ox_note note; /* NULL: remarks are dropped */
    void *note_user;
    ox_note warn; /* told of values that will be wrong: f of references that is not finite, where
                   * `evaluate` shows it; NULL: nobody */
    void *warn_user;
    bool strict; /* these are errors */

    /* Inputs that are settings, by name: constants from now on, and no inputs of the result. */
    const ox_tensor *fix;
    size_t fix_count;

    /* How: docs/methods.md. NULL: "deepshap". 0 for the numbers: as the method has it. */
    const char *method;
    int64_t steps;   /* points on the way from a reference, at most OX_MAX_STEPS */
    int64_t samples; /* draws, coalitions or permutations */
    int64_t seed;    /* of what is drawn; the same gives the same model */
    int64_t noise;   /* of smoothgrad: its deviation, in percent of a sample's range */

    /* Values that are one player, and get one value together: `<input>_shap` then has an axis of
     * groups in place of the input's own. "patch:HxW" of pictures, "tokens", or "NAME: FEATURE,
     * FEATURE" by feature_names; and whole numbers in the shape of a sample, by input name. */
    const char *const *groups;
    size_t group_count;
    const ox_tensor *labels;
    size_t label_count;

    const char *pool; /* the rule of maxima over windows: "cross" (NULL) or "tree", docs/rules.md */

    const ox_tensor *target_array; /* of targets "mask" and "cosine": one sample's output */

    /* Beside the values of deepshap: the mean multipliers, `<input>_multipliers`; for one-hot
     * inputs what each category would get there, `<input>_hypothetical`; and all of them for each
     * reference, with an axis R behind the batch and the targets. */
    bool multipliers;
    bool hypothetical;
    bool keep_references;

    const double *weights; /* of the references, one each; NULL: all the same */
    size_t weight_count;

    uint64_t cache_limit; /* bytes of references that may be written beside the model; 0: 1 GB */

    int64_t splits; /* halves of the players, and their complements, for each reference, at most
                     * OX_MAX_SPLITS; > 0: rules from r to mixtures and on to x, docs/methods.md */
    int64_t order;  /* of the rules: 1 (0), 2 or 3, nearer to Shapley values, docs/rules.md */
} ox_options;

#define OX_OPTIONS_INIT                                                                            \
    {                                                                                              \
        .size = sizeof(ox_options)                                                                 \
    }

#define OX_MAX_POINTS 64
#define OX_MAX_STEPS 1024
#define OX_MAX_SPLITS 64

/* Makes the model that predicts and explains. The result shares nothing with `model`, which may
 * be freed first. NULL for options: the defaults. Source of the method: ONNXExplainer (arXiv
 * 2309.16916), DeepLIFT (arXiv 1704.02685), and the rules of docs/rules.md. */
OX_API ox_model *ox_explain(const ox_model *model, const ox_options *options, ox_error *err);

/* The model that `explained` was made of: without what was added, its outputs first and in order.
 * Settings are constants in it, dimensions those of the references, and operators spelled as
 * explaining needed them. */
OX_API ox_model *ox_original(const ox_model *explained, ox_error *err);

/* Copies the references that lie in an explained model, by input name, into `references`; release
 * each with ox_tensor_free. `count`, at most `room`, is 0 where they are not in it: where they come
 * in as inputs, are filled, or only what they give is kept. A model has no more than inputs. */
OX_API bool ox_references(const ox_model *explained, ox_tensor *references, size_t room,
                          size_t *count, ox_error *err);

/* Makes the model on the way from a sample to the references, for deletion and insertion curves. It
 * has the outputs of `model`, shap_target and base_value, and
 *
 *     shap_step    an input more, int64 [N, P]: after which step each of a sample's P values (over
 *                  all explained inputs in order; or groups) is the references'
 *     shap_curve   [N, steps + 1] or [N, K, steps + 1], double: after step 0, 1, .. the mean over
 *                  the references of the explained output value
 *
 * Options are those of ox_explain; steps: 16 by default. The model is only run. */
OX_API ox_model *ox_curves(const ox_model *model, const ox_options *options, ox_error *err);

/* How a node or an operator is treated. */
typedef enum ox_state {
    OX_DIFFERENTIATED, /* has a rule of its own */
    OX_DECOMPOSED,     /* by the rules of the operators that it is made of */
    OX_CARRIES_NOTHING,
    OX_NO_RULE,    /* cannot be explained */
    OX_NOT_REACHED /* of a node: no multiplier reaches it, so it needs no rule */
} ox_state;

typedef struct ox_node_report {
    size_t index; /* position in the model's graph */
    const char *name;
    const char *op;
    const char *domain;
    ox_state state;
    const char *detail; /* the rule, or why there is none */
} ox_node_report;

typedef struct ox_report {
    const ox_node_report *nodes;
    size_t node_count;
    bool explainable;
    const char *reason;   /* why it is not explainable, one line; NULL when it is */
    uint64_t cache_bytes; /* activations kept per reference; 0 where shapes are not known */
    void *memory;         /* the library's */

    /* Of a model without a floating-point output: its tensors, one of which output_name may say. */
    const ox_value_info *tensors;
    size_t tensor_count;
} ox_report;

/* Says which rule each node of `model` gets, and whether ox_explain would take it under these
 * options: it does the same up to where references are run. options.references may be missing: free
 * dimensions are then unknown and cache_bytes may be 0. NULL for options: the defaults. Release
 * with ox_report_free, which allows NULL. */
OX_API ox_report *ox_inspect(const ox_model *model, const ox_options *options, ox_error *err);
OX_API void ox_report_free(ox_report *report);

/* A row of the table of operators. */
typedef struct ox_rule_info {
    const char *domain;
    const char *op;
    ox_state state;
    const char *formula; /* one line */
} ox_rule_info;

/* The table of operators, sorted by name; static. NULL for `count` is allowed. */
OX_API const ox_rule_info *ox_rules(size_t *count);

/* ---- running --------------------------------------------------------------------------- */

/* A model loaded into ONNX Runtime, which is opened at run time: the library that
 * ONNXRUNTIME_LIBRARY or ONNXRUNTIME_ROOT names, else the one the loader finds, else the one
 * that the build found. The kernels of libonnxexplainer_ops are registered with it where they lie
 * beside this library, or where ONNXEXPLAINER_OPS names them. */
typedef struct ox_session ox_session;

/* Starts as OX_SESSION_OPTIONS_INIT; as with ox_options, fields are added at the end. */
typedef struct ox_session_options {
    size_t size;          /* of this struct, set by OX_SESSION_OPTIONS_INIT; 0 is refused */
    int threads;          /* at most OX_MAX_THREADS; 0: one per core; those that wait sleep */
    bool no_optimization; /* ONNX Runtime's graph optimizations off */
    bool no_kernels;      /* the kernels of libonnxexplainer_ops are not registered */
    bool no_tune;         /* explained models run as they are, see ox_tune */
    const char *runtime;  /* path of the ONNX Runtime library; NULL: search as above */
    const char *profile;  /* prefix of ONNX Runtime's profile; NULL: none */
    ox_note note;         /* told why a model is not tuned; NULL: nobody */
    void *note_user;
    const char *provider; /* ONNX Runtime's execution provider to run on, NAME[,KEY=VALUE]..; NULL:
                           * the CPU's. Models then run untuned and without our kernels, which are
                           * the CPU's; what the provider does not take runs there as well */
} ox_session_options;

#define OX_SESSION_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(ox_session_options)                                                         \
    }

#define OX_MAX_THREADS 4096

/* Opens a session on a model file (external data is found next to it) or a model in memory. An
 * explained model that gains by it, as both are measured once, is tuned before, and the tuned one
 * is kept in the user's caches (the folder that ONNXEXPLAINER_CACHE names; empty: not at all) for
 * the next session; where that fails, it runs as it is, but for want of memory, which is an error.
 * NULL for options: the defaults. ox_session_free allows NULL. */
OX_API ox_session *ox_session_open(const char *path, const ox_session_options *options,
                                   ox_error *err);
OX_API ox_session *ox_session_open_model(const ox_model *model, const ox_session_options *options,
                                         ox_error *err);
OX_API void ox_session_free(ox_session *session);

/* Names of the session's outputs, in order; they live as long as the session. NULL for `count` is
 * allowed; a NULL session has none. */
OX_API const char *const *ox_session_outputs(const ox_session *session, size_t *count);

/* Runs on `inputs`, found by name, in one batch as they are; a program that cuts rows into batches
 * leaves it where the metadata "onnxexplainer.batch" is "whole", as samples of such a model depend
 * on the others of their batch, and runs one at a time where it is "one", as they are rounded by a
 * scale of their batch. References that come in as inputs and are the same in the third call in a
 * row (after they have changed, later) become constants of a second session, unless no_tune: what
 * depends on them alone is not computed again. `outputs` has room for output_count tensors, all of
 * the session's (NULL for `output_names`) or those named there; release each with ox_tensor_free.
 */
OX_API bool ox_session_run(ox_session *session, const ox_tensor *inputs, size_t input_count,
                           const char *const *output_names, ox_tensor *outputs, size_t output_count,
                           ox_error *err);

/* For options.evaluate: runs the model once through ONNX Runtime. `user` is an
 * ox_session_options or NULL; nothing is tuned for one run. */
OX_API bool ox_evaluate_runtime(void *user, const ox_model *model, const ox_tensor *inputs,
                                size_t input_count, ox_tensor *outputs, size_t output_count,
                                ox_error *err);

/* Rewrites an explained model for the machine at hand and the ONNX Runtime that options name (NULL:
 * defaults): what convolves goes through ONNX Runtime's blocked layout, with the kernels of
 * libonnxexplainer_ops, and what depends on no input (references' activations, filters) is
 * computed and stored. The result is checked against `explained` on random inputs, and needs the
 * kernels. Sessions do this on their own (see no_tune). NULL and err: OX_UNSUPPORTED where there is
 * nothing to gain. */
OX_API ox_model *ox_tune(const ox_model *explained, const ox_session_options *options,
                         ox_error *err);

/* Tuning costs about as much time as it saves over so many samples. */
#define OX_TUNE_FROM 16

/* ---- checking -------------------------------------------------------------------------- */

/* What ox_check found, in samples. */
typedef struct ox_findings {
    size_t samples;
    size_t not_finite; /* f(x), base value or a SHAP value is NaN or infinite */
    size_t incomplete; /* sums miss f(x) - base_value by more than rounding explains */
    size_t unknown;    /* nothing to compare with: the explained tensor is not among the outputs,
                        * and neither is completeness_gap */
} ox_findings;

/* Looks at all that a run of an explained model gave, or several runs put together along the batch:
 * whether it is finite, and whether the SHAP values of each sample and target add up. Rounding
 * explains up to 256 epsilon/2 of the numbers involved (sum |phi|, |f(x)|, |base|, the output's
 * largest), 8 where the model computes in 16 bits. `note` gets a line if there are any that are
 * not finite, and one if there are any that do not add up, which name them (NULL: nobody does).
 * NULL for findings is allowed. */
OX_API bool ox_check(const ox_model *explained, const ox_tensor *outputs, size_t output_count,
                     ox_findings *findings, ox_note note, void *note_user, ox_error *err);

/* The same, with what the session knows of its model. */
OX_API bool ox_session_check(const ox_session *session, const ox_tensor *outputs,
                             size_t output_count, ox_findings *findings, ox_note note,
                             void *note_user, ox_error *err);

/* Tells `note` of inputs whose values are on another scale than the references of the explained
 * model, a line each: uint8 for a floating-point input, or 0 to 255 where references are 0 to 1.
 * Of a model that is not explained only uint8 is told. `inputs` are found by name, and may have the
 * type in which they were given. */
OX_API bool ox_check_inputs(const ox_model *model, const ox_tensor *inputs, size_t input_count,
                            ox_note note, void *note_user, ox_error *err);

/* Version of the ONNX Runtime that would be used, into `version` (at least 32 bytes). */
OX_API bool ox_runtime_version(const char *runtime, char *version, size_t size, ox_error *err);

#ifdef __cplusplus
}
#endif
#endif
