/* Tuning: an explained model rewritten for the machine at hand. One pass goes over the graph and
 * writes every node once more, in ONNX Runtime's blocked layout where a table knows how
 * (tune_*.c), else as it is; values change their layout where the two meet.
 *
 * Blocked layout. Of a value [.., C, H, W] the channels are padded with zeros to a multiple C' of
 * the block size b and stored as [B, C'/b, H, W, b], B being all axes before C, under the shape
 * [B, C', H, W]. Nodes of domain com.microsoft.nchwc read and write it, whatever works element by
 * element works on it as well, and seen as [.., C'/b, H, W, b] it broadcasts. What padded channels
 * hold is finite, and meets zeros in the filters of the next convolution. */
#ifndef OX_TUNE_H
#define OX_TUNE_H

#include "graph/build.h"

/* Seven axes and one more for the block. */
enum { OX_TUNE_RANK = 8 };

typedef struct ox_tuner {
    ox_graph *g;
    ox_arena *arena;
    int64_t block;  /* channels of a block */
    bool kernels;   /* ours are there */
    bool quantised; /* the model is computed in integers */
    bool lines;     /* something of one spatial axis has become planes of one row */
    size_t blocked; /* nodes written in the blocked layout */
} ox_tuner;

/* What has become of a value. At least one of `plain` and `blocked` is there, or it is put off, as
 * base * scale + add, until somebody wants it who cannot do that on the way: base is [.., C, H, W],
 * NULL for none; scale and add are [.., C, 1, 1] or NULL. */
typedef struct ox_form {
    int rank; /* -1: not known */
    const ox_dim *dims;
    ox_val plain;
    ox_val blocked;
    struct ox_form *base, *scale, *add;
    bool put_off;
    const ox_node *conv; /* that makes it, of the model that is read, with these plain operands */
    ox_val filters, bias;
    struct ox_form
        *whole;    /* the same value with H and W for one axis of places or a line, or NULL */
    bool constant; /* depends on no input */
    size_t uses;
} ox_form;

/* Writes node n anew; false where it does not know how, having written nothing. */
typedef bool (*ox_layout)(ox_tuner *t, ox_node *n);

/* By the table; layout_none where nodes stay as they are. */
ox_layout ox_tune_find(const ox_node *n);

/* Whether n makes numbers of integers in the model that predicts, where ONNX Runtime computes with
 * the integers themselves as long as n stands there. */
bool ox_tune_dequantizes(const ox_node *n);

/* `explained` in the blocked layout, `block` channels a block. */
ox_model *ox_tune_layout(const ox_model *explained, int64_t block, bool kernels, ox_error *err);

/* Writes n, of one spatial axis, by way of planes of one row (tune/line.c); false where that does
 * not apply. */
bool ox_tune_line(ox_tuner *t, ox_node *n);

/* ---- values (tune/layout.c) ------------------------------------------------------------- */

ox_form *ox_form_of(ox_val v);

/* Input i of a node of the model that is read; NULL where it is left out. */
ox_form *ox_form_in(const ox_node *n, size_t i);

/* Whether the value can be blocked: [.., C, H, W], sizes known, channels enough to fill most of
 * their blocks. */
bool ox_form_fits(const ox_tuner *t, const ox_form *f);

/* Whether it is there in blocks, or constant, so that blocks cost nothing. */
bool ox_form_ready(const ox_tuner *t, const ox_form *f);

/* The value in either layout, changed where it is not there yet. */
ox_val ox_form_plain(ox_tuner *t, ox_form *f);
ox_val ox_form_blocked(ox_tuner *t, ox_form *f);

/* Axis `from` behind of the shape: of a form that fits, C is 3, H 2, W 1. */
int64_t ox_form_size(const ox_form *f, int from);
int64_t ox_tune_padded(const ox_tuner *t, int64_t channels);

/* f, whose shape is known, is put off. */
void ox_form_put_off(ox_tuner *t, ox_form *f, ox_form *base, ox_form *scale, ox_form *add);

/* A form of a value that has just been made. */
ox_form *ox_form_new(ox_tuner *t, ox_val plain);

/* [.., C, 1, L] in place of [.., C, L]: the shape, and the value. */
const ox_dim *ox_tune_add_row(ox_tuner *t, int rank, const ox_dim *dims);
ox_form *ox_form_with_row(ox_tuner *t, ox_form *f);

/* How a blocked value is seen: as [B, C', H, W], [.., C', H, W], or [.., C'/b, H, W, b]. */
typedef enum ox_view { OX_FOLDED, OX_AXES, OX_SPLIT } ox_view;

ox_val ox_form_view(ox_tuner *t, ox_form *f, ox_view view);

/* f becomes `out`, the view of a blocked value of shape `dims`. */
void ox_form_set(ox_tuner *t, ox_form *f, ox_val out, ox_view view, int rank, const ox_dim *dims);

/* A node of domain com.microsoft.nchwc whose result has shape `dims`. */
ox_val ox_tune_emit(ox_tuner *t, const char *op, size_t input_count, const ox_val *inputs,
                    size_t attr_count, const ox_attr *attrs, const ox_dim dims[4]);

/* ---- rows of the table ------------------------------------------------------------------- */

#define OP(domain, op, shape, how, layout, ...) bool layout(ox_tuner *t, ox_node *n);
#define LIFTED(op, shape)
#include "base/operators.inc"
bool layout_mul_flow(ox_tuner *t, ox_node *n); /* tune/flow.c */
bool layout_flow(ox_tuner *t, ox_node *n);
bool layout_winner_flow(ox_tuner *t, ox_node *n); /* tune/pool.c */
bool layout_phases(ox_tuner *t, ox_node *n);

/* Mul or Add of a constant of one number a channel to what a convolution makes for this alone: in
 * its filters and bias, as ONNX Runtime does. */
bool ox_tune_fold_into_conv(ox_tuner *t, ox_node *n);

/* Whether x is the sample's and x0 the references' beside multipliers like y. */
bool ox_tune_plays(const ox_form *x, const ox_form *x0, int rank, const ox_dim *dims);

/* Emits a kernel of ours that takes multipliers, samples and references first. */
ox_val ox_tune_flow(ox_tuner *t, const char *op, size_t input_count, const ox_val *inputs,
                    int64_t targets, size_t attr_count, const ox_attr *attrs);

/* K of multipliers of this rank beside references x0. */
int64_t ox_tune_targets(const ox_form *x0, int rank, const ox_dim *dims);

/* base * scale where a flow makes base for this alone: in the flow, of unknown shape; else NULL. */
ox_val ox_tune_scale_flow(ox_tuner *t, const ox_form *base, ox_form *scale);

/* out, whose shape is known, becomes a + b inside what makes one of them, or later; else false. */
bool ox_tune_fuse_sum(ox_tuner *t, ox_form *out, ox_form *a, ox_form *b);

#endif
