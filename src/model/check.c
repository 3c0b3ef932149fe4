/* Nodes as they come from a file, held against the schemas of their operators: everything after
 * takes inputs, outputs and attributes for granted that a schema promises. Unknown attributes are
 * refused as ONNX Runtime refuses them: a later or foreign one may change what the operator does,
 * and the explained model keeps the node. */
#include "model/proto.h"

#include <inttypes.h>
#include <string.h>

#include "model/schema.h"

typedef struct check {
    const ox_model *model;
    const ox_schema *schema;
    const char *around, *name; /* a node, or one inside the node `around` */
    const char *domain, *op;
    int64_t version;
    uint64_t seen; /* attributes, a bit each */
} check;

static const char *label_of(const check *c)
{
    return c->name == NULL
               ? c->around
               : ox_arena_format(c->model->arena, "%s: in its subgraph, node \"%s\" (%s)",
                                 c->around, c->name, c->op);
}

/* "Relu of opset 18". */
static const char *what_of(const check *c)
{
    return ox_arena_format(c->model->arena, "%s of %s %" PRId64, c->op,
                           c->domain[0] == '\0' ? "opset" : c->domain, c->version);
}

/* Finds the schema. False for functions of the model, but ours, for operators that nobody here
 * knows, and for versions of the standard that are refused later. */
static bool begin(check *c)
{
    ox_arena *a = c->model->arena;
    bool standard = c->domain[0] == '\0';
    int64_t first = 0;
    if (standard && (c->version == 0 || c->version > ox_schema_newest())) {
        return false;
    }
    c->schema = ox_schema_find(c->domain, c->op, c->version == 0 ? INT64_MAX : c->version, &first);
    bool known = c->schema != NULL || first != 0, ours = strcmp(c->domain, "onnxexplainer") == 0;
    if (!known || (!ours && ox_model_local(c->model, c->domain, c->op) != NULL)) {
        return false;
    }
    if (c->schema == NULL) {
        ox_fail(a, OX_INVALID, "%s: there is no %s, the first is that of %" PRId64, label_of(c),
                what_of(c), first);
    }
    return true;
}

static void check_count(const check *c, const char *thing, const ox_schema_side *side, size_t count)
{
    if (count >= side->least && (count <= side->most || side->most == OX_SCHEMA_ANY)) {
        return;
    }
    ox_arena *a = c->model->arena;
    const char *wanted =
        side->most == OX_SCHEMA_ANY ? ox_arena_format(a, "at least %u", side->least)
        : side->most == side->least ? ox_arena_format(a, "%u", side->least)
                                    : ox_arena_format(a, "%u to %u", side->least, side->most);
    ox_fail(a, OX_INVALID, "%s: has %zu %ss, %s has %s", label_of(c), count, thing, what_of(c),
            wanted);
}

static void check_there(const check *c, const char *thing, const ox_schema_side *side, size_t i,
                        bool there)
{
    if (!there && ox_schema_needs(side, i)) {
        ox_fail(c->model->arena, OX_INVALID, "%s: %s %zu is missing", label_of(c), thing, i);
    }
}

static const char *type_name(int type)
{
    static const char *const names[] = {
        "none",    "a float",         "an integer",     "a string", "a tensor",
        "a graph", "floats",          "integers",       "strings",  "tensors",
        "graphs",  "a sparse tensor", "sparse tensors", "a type",   "types"};
    bool known = type >= 0 && (size_t)type < sizeof names / sizeof *names;
    return known ? names[type] : "of an unknown type";
}

/* Lists that are empty may come without a type. */
static bool fits(int type, int wanted)
{
    bool list = wanted == OX_ATTR_FLOATS || wanted == OX_ATTR_INTS || wanted == OX_ATTR_STRINGS;
    return type == wanted || (type == OX_ATTR_OTHER && list);
}

/* Names that begin with two underlines are notes of tools, and anything goes. */
static void check_attribute(check *c, const char *name, int type)
{
    ox_arena *a = c->model->arena;
    size_t i = 0;
    while (i < c->schema->attr_count && strcmp(c->schema->attrs[i].name, name) != 0) {
        i++;
    }
    if (i == c->schema->attr_count) {
        if (strncmp(name, "__", 2) != 0 && !c->schema->open) {
            ox_fail(a, OX_INVALID, "%s: attribute \"%s\" is unknown, %s has none of this name",
                    label_of(c), name, what_of(c));
        }
        return;
    }
    if (!fits(type, c->schema->attrs[i].type)) {
        ox_fail(a, OX_INVALID, "%s: attribute \"%s\" is %s, not %s", label_of(c), name,
                type_name(type), type_name(c->schema->attrs[i].type));
    }
    if ((c->seen >> i & 1) != 0) {
        ox_fail(a, OX_INVALID, "%s: attribute \"%s\" is there twice", label_of(c), name);
    }
    c->seen |= UINT64_C(1) << i;
}

static void end(const check *c)
{
    for (size_t i = 0; i < c->schema->attr_count; i++) {
        if (c->schema->attrs[i].required && (c->seen >> i & 1) == 0) {
            ox_fail(c->model->arena, OX_INVALID, "%s: attribute \"%s\" is missing", label_of(c),
                    c->schema->attrs[i].name);
        }
    }
}

void ox_check_proto(const ox_model *m, const Onnx__NodeProto *p, int64_t version, const char *label,
                    bool inside)
{
    check c = {
        .model = m,
        .around = label,
        .name = inside ? ox_proto_text(p->name) : NULL,
        .domain = ox_proto_domain(p->domain),
        .op = ox_proto_text(p->op_type),
        .version = version,
    };
    if (!begin(&c)) {
        return;
    }
    check_count(&c, "input", &c.schema->inputs, p->n_input);
    check_count(&c, "output", &c.schema->outputs, p->n_output);
    for (size_t i = 0; i < p->n_input; i++) {
        check_there(&c, "input", &c.schema->inputs, i, p->input[i][0] != '\0');
    }
    for (size_t i = 0; i < p->n_output; i++) {
        check_there(&c, "output", &c.schema->outputs, i, p->output[i][0] != '\0');
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        check_attribute(&c, ox_proto_text(p->attribute[i]->name), ox_proto_kind(p->attribute[i]));
    }
    end(&c);
}

void ox_check_node(const ox_model *m, const ox_node *n, int64_t version, const char *label,
                   bool inside)
{
    check c = {
        .model = m,
        .around = label,
        .name = inside ? n->name : NULL,
        .domain = n->domain,
        .op = n->op,
        .version = version,
    };
    if (!begin(&c)) {
        return;
    }
    check_count(&c, "input", &c.schema->inputs, n->input_count);
    check_count(&c, "output", &c.schema->outputs, n->output_count);
    for (size_t i = 0; i < n->input_count; i++) {
        check_there(&c, "input", &c.schema->inputs, i, n->inputs[i] != NULL);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        check_there(&c, "output", &c.schema->outputs, i, n->outputs[i]->name[0] != '\0');
    }
    for (size_t i = 0; i < n->attr_count; i++) {
        const ox_attr *attr = &n->attrs[i];
        bool read = attr->kind == OX_ATTR_OTHER && attr->proto != NULL;
        check_attribute(&c, attr->name, read ? ox_proto_kind(attr->proto) : (int)attr->kind);
    }
    end(&c);
}
