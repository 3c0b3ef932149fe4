/* ox_stack: several models as one, brought to one opset. */
#include <string.h>

#include "base/check.h"
#include "graph/body.h"
#include "lift/lift.h"
#include "model/stack.h"

enum { MOST_MODELS = 64 };

typedef struct job {
    const ox_model *const *given;
    ox_model *lifted[MOST_MODELS]; /* the models, or copies that are lifted */
    ox_model *made;
    ox_parts parts;
    size_t at; /* the model at work */
    bool copied[MOST_MODELS];
} job;

/* ---- one opset -------------------------------------------------------------------------- */

/* Operators whose attributes or inputs mean something else from an opset on, to which lifting does
 * not bring them. */
typedef struct change {
    const char *domain, *op;
    int64_t since;
} change;

static const change changes[] = {
    {"", "DFT", 20},
    {"", "GridSample", 20},
    {"", "GroupNormalization", 21},
    {"ai.onnx.ml", "LabelEncoder", 2},
};

typedef struct reading {
    const job *j;
    const ox_model *m;
} reading;

static void check_meaning(void *user, const ox_node *n)
{
    const reading *r = user;
    int64_t own = ox_model_opset(r->m, n->domain), all = ox_model_opset(r->j->made, n->domain);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const change *c = &changes[i];
        if (own < c->since && all >= c->since && strcmp(n->op, c->op) == 0 &&
            strcmp(n->domain, c->domain) == 0) {
            ox_fail(r->j->made->arena, OX_UNSUPPORTED,
                    "model %zu: %s of opset %lld means something else at opset %lld, which another "
                    "model is of: export them with the same opset",
                    r->j->at + 1, n->op, (long long)own, (long long)all);
        }
    }
}

static void check_meanings(const job *j, const ox_model *m)
{
    reading r = {j, m};
    for (size_t i = 0; i < m->graph->node_count; i++) {
        check_meaning(&r, m->graph->nodes[i]);
        ox_body_walk_node(&(ox_body_walk){.node = check_meaning, .user = &r}, m->graph->nodes[i]);
    }
}

static bool is_known(const char *domain)
{
    static const char *const known[] = {"", "ai.onnx.ml"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(domain, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The latest of each domain. */
static void import(job *j, const ox_model *m)
{
    for (size_t i = 0; i < m->opset_count; i++) {
        const char *domain = m->opsets[i].domain;
        int64_t version = m->opsets[i].version, before = ox_model_opset(j->made, domain);
        if (before != 0 && before != version && !is_known(domain)) {
            ox_fail(j->made->arena, OX_UNSUPPORTED,
                    "model %zu is of version %lld of operator set \"%s\", one before it of %lld: "
                    "export them with the same",
                    j->at + 1, (long long)version, domain, (long long)before);
        }
        ox_model_set_opset(j->made, domain, version > before ? version : before);
    }
}

/* ---- parts ------------------------------------------------------------------------------ */

static void lift_copy(void *user)
{
    job *j = user;
    ox_model *copy = j->lifted[j->at];
    ox_model_copy(copy, (ox_model *)(uintptr_t)j->given[j->at]);
    ox_lift(copy);
}

/* Functions are written out, and models of other opsets lifted: the others stay as they are. */
static bool must_lift(const job *j, const ox_model *m)
{
    bool same = true;
    for (size_t i = 0; i < j->parts.count; i++) {
        same = same && ox_model_opset(j->given[i], "") == ox_model_opset(m, "");
    }
    return !same || m->local_count > 0;
}

static bool prepare(job *j, ox_error *err)
{
    for (j->at = 0; j->at < j->parts.count; j->at++) {
        const ox_model *m = j->given[j->at];
        if (!ox_check_given("a model", m, err)) {
            return false;
        }
        if (ox_metadata(m, "onnxexplainer.version") != NULL) {
            return ox_error_set(err, OX_ARGUMENT,
                                "model %zu is explained already: stack the models, and explain "
                                "that",
                                j->at + 1);
        }
        j->lifted[j->at] = (ox_model *)(uintptr_t)m;
    }
    for (j->at = 0; j->at < j->parts.count; j->at++) {
        if (!must_lift(j, j->given[j->at])) {
            continue;
        }
        j->lifted[j->at] = ox_model_new(err);
        j->copied[j->at] = j->lifted[j->at] != NULL;
        ox_error own;
        if (!j->copied[j->at]) {
            return false;
        }
        if (!ox_arena_try(j->lifted[j->at]->arena, lift_copy, j, &own)) {
            return ox_error_set(err, own.code, "model %zu: %s", j->at + 1, own.message);
        }
    }
    return true;
}

static void put_together(void *user)
{
    job *j = user;
    for (j->at = 0; j->at < j->parts.count; j->at++) {
        ox_budget_join(j->made->arena, j->lifted[j->at]->arena);
        import(j, j->lifted[j->at]);
    }
    for (j->at = 0; j->at < j->parts.count; j->at++) {
        check_meanings(j, j->lifted[j->at]);
    }
    j->parts.arena = j->made->arena;
    ox_model_stack(j->made, &j->parts);
}

ox_model *ox_stack(const ox_model *const *models, size_t count, const char *const *connect,
                   size_t connect_count, ox_error *err)
{
    if (!ox_check_given("models", models, err) ||
        !ox_check_names("connect", connect, connect_count, err)) {
        return NULL;
    }
    if (count < 1 || count > MOST_MODELS) {
        ox_error_set(err, OX_ARGUMENT, "a stack is of 1 to %d models, not of %zu", MOST_MODELS,
                     count);
        return NULL;
    }
    job j = {.given = models, .made = ox_model_new(err)};
    j.parts = (ox_parts){NULL, j.lifted, count, connect, connect_count};
    bool good =
        j.made != NULL && prepare(&j, err) && ox_arena_try(j.made->arena, put_together, &j, err);
    for (size_t i = 0; i < count; i++) {
        if (j.copied[i]) {
            ox_free(j.lifted[i]);
        }
    }
    if (!good) {
        ox_free(j.made);
        return NULL;
    }
    return j.made;
}
