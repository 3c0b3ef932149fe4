/* Attention of one pair and head, compiled once for each instruction set.
 *
 * Queries are taken a block at a time, so that nothing of size queries x keys is written to memory
 * but for what a block has of it. Matrices whose rows become vectors are copied to rows of whole
 * vectors; what stands behind their last number, nothing reads. */
#include "attention.h"
#include "variant.h"
#include "vec_row.h"

/* ---- products ------------------------------------------------------------------------------- */

/* Four floats, which compilers have registers for everywhere. */
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

/* What is in a register, and how many rows and vectors of a result are at a time. */
#if VEC_WIDTH == 1
typedef quad lane;
enum { LANE = 4, ROWS = 4, VECS = 2 };

static inline lane lane_set(float a)
{
    return (lane){a, a, a, a};
}
static inline lane lane_load(const float *p)
{
    return *(const lane *)p;
}
static inline void lane_store(float *p, lane a)
{
    *(lane *)p = a;
}
static inline lane lane_fma(lane a, lane b, lane c)
{
    return a * b + c;
}
#else
typedef vec lane;
#define lane_set vec_set
#define lane_load vec_load
#define lane_store vec_store
#define lane_fma vec_fma
#if defined(OPS_AVX512)
enum { LANE = VEC_WIDTH, ROWS = 12, VECS = 2 };
#elif defined(OPS_AVX2)
enum { LANE = VEC_WIDTH, ROWS = 6, VECS = 2 };
#else
enum { LANE = VEC_WIDTH, ROWS = 8, VECS = 2 };
#endif
#endif
enum { QUERIES = 48, WORKING = 1 << 18 }; /* of a block; numbers of all its rows, at most */

/* A matrix, element [i][j] at i * row + j * step. */
typedef struct operand {
    const float *data;
    size_t row, step;
} operand;

#define TILE static inline __attribute__((always_inline)) void

/* out[i][..] = or += sum over j of a[i][j] b[j][..] for so many rows i and vectors. */
TILE tile(size_t rows, size_t vecs, size_t count, operand a, const float *b, size_t b_row,
          float *out, size_t out_row, bool add)
{
    lane sum[ROWS][VECS];
    for (size_t i = 0; i < rows; i++) {
        for (size_t v = 0; v < vecs; v++) {
            sum[i][v] = add ? lane_load(out + i * out_row + v * LANE) : lane_set(0);
        }
    }
    for (size_t j = 0; j < count; j++) {
        lane of_b[VECS];
        for (size_t v = 0; v < vecs; v++) {
            of_b[v] = lane_load(b + j * b_row + v * LANE);
        }
        for (size_t i = 0; i < rows; i++) {
            lane of_a = lane_set(a.data[i * a.row + j * a.step]);
            for (size_t v = 0; v < vecs; v++) {
                sum[i][v] = lane_fma(of_a, of_b[v], sum[i][v]);
            }
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t v = 0; v < vecs; v++) {
            lane_store(out + i * out_row + v * LANE, sum[i][v]);
        }
    }
}

/* Columns of so many vectors, of all rows. */
TILE columns(size_t vecs, size_t rows, size_t count, operand a, const float *b, size_t b_row,
             float *out, size_t out_row, bool add)
{
    size_t i = 0;
    for (; i + ROWS <= rows; i += ROWS) {
        tile(ROWS, vecs, count, (operand){a.data + i * a.row, a.row, a.step}, b, b_row,
             out + i * out_row, out_row, add);
    }
    for (; i + 4 <= rows; i += 4) {
        tile(4, vecs, count, (operand){a.data + i * a.row, a.row, a.step}, b, b_row,
             out + i * out_row, out_row, add);
    }
    for (; i < rows; i++) {
        tile(1, vecs, count, (operand){a.data + i * a.row, a.row, a.step}, b, b_row,
             out + i * out_row, out_row, add);
    }
}

/* out = or += a b, a [rows, count], b [count, `width` in whole vectors]. */
static void multiply(size_t rows, size_t count, size_t width, operand a, const float *b,
                     size_t b_row, float *out, size_t out_row, bool add)
{
    size_t k = 0;
    for (; k + VECS * LANE <= width; k += VECS * LANE) {
        columns(VECS, rows, count, a, b + k, b_row, out + k, out_row, add);
    }
    for (; k < width; k += LANE) {
        columns(1, rows, count, a, b + k, b_row, out + k, out_row, add);
    }
}

/* ---- what is worked with -------------------------------------------------------------------- */

/* A matrix of rows of whole vectors. */
typedef struct result {
    float *data;
    size_t row;
} result;

/* Matrices of their own, with the distance of their rows in the order of what they are indexed by.
 */
typedef struct work {
    const ops_attention_pair *p;
    size_t key_row, width_row, depth_row, block; /* of queries */
    float *mixed;                                /* [keys][depth]: v/3 + v0/6 or v/6 + v0/3 */
    float *value, *value0;                       /* [depth][keys]: both, turned */
    float *key, *key0;                           /* [keys][width] */
    float *dk, *dq;                              /* [width][keys]; [block][width] */
    float *m;                                    /* [block][depth] */
    float *to_q, *to_k, *to_v;                   /* [block][width], [width][keys], [keys][depth] */
    float *of_k, *of_k0; /* [block][keys]: what value and value0 make of m, and what goes to keys */
    float *share;        /* [block][keys]: dq dk, and what goes to values */
    float *mean, *middle; /* [keys] */
    result k, v;          /* where to_k and to_v are made */
} work;

static size_t whole(size_t n)
{
    return (n + LANE - 1) / LANE * LANE;
}

/* Rows that are not 4 KB apart, which would meet in a few places of the cache. */
static size_t row_of(size_t n)
{
    return whole(n) >= 512 ? whole(n) + LANE : whole(n);
}

/* The next matrix; only counts where there is no memory yet. */
static float *take(float *memory, size_t *used, size_t numbers)
{
    float *at = memory == NULL ? NULL : memory + *used;
    *used += whole(numbers);
    return at;
}

static size_t lay_out(work *w, float *memory)
{
    const ops_attention_size *s = &w->p->size;
    size_t used = 0;
    w->key_row = row_of(s->keys);
    w->width_row = row_of(s->width);
    w->depth_row = row_of(s->depth);
    w->block = QUERIES * w->key_row > WORKING ? ROWS : QUERIES;
    w->mixed = take(memory, &used, s->keys * s->depth);
    w->value = take(memory, &used, s->depth * w->key_row);
    w->value0 = take(memory, &used, s->depth * w->key_row);
    w->key = take(memory, &used, s->keys * w->width_row);
    w->key0 = take(memory, &used, s->keys * w->width_row);
    w->dk = take(memory, &used, s->width * w->key_row);
    w->dq = take(memory, &used, w->block * s->width);
    w->m = take(memory, &used, w->block * w->depth_row);
    w->to_q = take(memory, &used, w->block * w->width_row);
    w->to_k = take(memory, &used, s->width * w->key_row);
    w->to_v = take(memory, &used, s->keys * w->depth_row);
    w->of_k = take(memory, &used, w->block * w->key_row);
    w->of_k0 = take(memory, &used, w->block * w->key_row);
    w->share = take(memory, &used, w->block * w->key_row);
    w->mean = take(memory, &used, w->key_row);
    w->middle = take(memory, &used, w->key_row);
    return used;
}

size_t OPS_VARIANT(attention_room)(const ops_attention_size *size)
{
    ops_attention_pair p = {.size = *size};
    work w = {.p = &p};
    return lay_out(&w, NULL);
}

/* Rows of `count` numbers as rows of whole vectors, or back; nothing where they are in place. */
static void copy_rows(size_t rows, size_t count, const float *from, size_t from_row, float *to,
                      size_t to_row)
{
    for (size_t i = 0; to != from && i < rows; i++) {
        memcpy(to + i * to_row, from + i * from_row, count * sizeof *to);
    }
}

/* Four rows of four numbers, the other way round. */
static inline void turn(quad *v)
{
    quad a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    quad b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    quad c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    quad d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* to[j][i] = from[i][j] */
static void turn_all(size_t rows, size_t columns, const float *from, float *to, size_t to_row)
{
    size_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        size_t j = 0;
        for (; j + 4 <= columns; j += 4) {
            quad v[4];
            for (size_t k = 0; k < 4; k++) {
                v[k] = *(const quad *)(from + (i + k) * columns + j);
            }
            turn(v);
            for (size_t k = 0; k < 4; k++) {
                *(quad *)(to + (j + k) * to_row + i) = v[k];
            }
        }
        for (; j < columns; j++) {
            for (size_t k = i; k < i + 4; k++) {
                to[j * to_row + k] = from[k * columns + j];
            }
        }
    }
    for (; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            to[j * to_row + i] = from[i * columns + j];
        }
    }
}

/* a/3 + b/6, turned. */
static void make_value(const work *w, const float *restrict a, const float *restrict b, float *to)
{
    const ops_attention_size *s = &w->p->size;
    float *restrict mixed = w->mixed;
    for (size_t i = 0; i < s->keys * s->depth; i++) {
        mixed[i] = a[i] * (1.0F / 3) + b[i] * (1.0F / 6);
    }
    turn_all(s->keys, s->depth, mixed, to, w->key_row);
}

static void make_operands(const work *w)
{
    const ops_attention_size *s = &w->p->size;
    const float *const *in = w->p->in;
    const float *k = in[OPS_ATTENTION_K], *k0 = in[OPS_ATTENTION_K0];
    make_value(w, in[OPS_ATTENTION_V], in[OPS_ATTENTION_V0], w->value);
    make_value(w, in[OPS_ATTENTION_V0], in[OPS_ATTENTION_V], w->value0);
    turn_all(s->width, s->keys, k, w->key, w->width_row);
    turn_all(s->width, s->keys, k0, w->key0, w->width_row);
    for (size_t j = 0; j < s->width; j++) {
        for (size_t i = 0; i < s->keys; i++) {
            w->dk[j * w->key_row + i] = k[j * s->keys + i] - k0[j * s->keys + i];
        }
    }
}

/* ---- shares --------------------------------------------------------------------------------- */

static inline vec scale_at(const float *scale, const ops_attention_size *s, size_t k)
{
    return s->scale_key == 0 ? vec_set(scale[0]) : load(scale, k, s->keys);
}

/* Sums of one row, of what there is times the means. */
typedef struct row_sums {
    double of_k, of_k0, share;
} row_sums;

static row_sums sums_of_row(const work *w, const float *scale, size_t at)
{
    const ops_attention_size *s = &w->p->size;
    row_sums sums = {0};
    for (size_t begin = 0; begin < s->keys; begin += STRETCH) {
        size_t end = s->keys - begin < STRETCH ? s->keys : begin + STRETCH;
        vec of_k = vec_set(0), of_k0 = vec_set(0), of_share = vec_set(0);
        for (size_t k = begin; k < end; k += VEC_WIDTH) {
            vec mean = load(w->mean, k, s->keys);
            vec scaled = vec_mul(load(w->share + at, k, s->keys), scale_at(scale, s, k));
            of_k = vec_fma(mean, load(w->of_k + at, k, s->keys), of_k);
            of_k0 = vec_fma(mean, load(w->of_k0 + at, k, s->keys), of_k0);
            of_share = vec_fma(mean, scaled, of_share);
        }
        sums.of_k += (double)vec_total(of_k);
        sums.of_k0 += (double)vec_total(of_k0);
        sums.share += (double)vec_total(of_share);
    }
    return sums;
}

/* Row i of the block: the rule of Softmax of all three, and the middles with what goes to v. */
static void share_row(const work *w, size_t query, size_t i)
{
    const ops_attention_size *s = &w->p->size;
    size_t at = i * w->key_row;
    const float *l = w->p->in[OPS_ATTENTION_L] + query * s->keys;
    const float *l0 = w->p->in[OPS_ATTENTION_L0] + query * s->keys;
    const float *scale = w->p->in[OPS_ATTENTION_SCALE] + query * s->scale_row;
    double all = OPS_VARIANT(share)(s->keys, w->mean, w->middle, l, l0);
    row_sums sums = sums_of_row(w, scale, at);
    vec level = vec_set((float)(sums.of_k / all)), level0 = vec_set((float)(sums.of_k0 / all));
    vec level_share = vec_set((float)(sums.share / all)), sixth = vec_set(-1.0F / 6);
    for (size_t k = 0; k < s->keys; k += VEC_WIDTH) {
        vec mean = load(w->mean, k, s->keys), factor = scale_at(scale, s, k);
        vec scaled = vec_mul(mean, factor);
        vec of_k = vec_sub(load(w->of_k + at, k, s->keys), level);
        vec of_k0 = vec_sub(load(w->of_k0 + at, k, s->keys), level0);
        vec product = vec_mul(load(w->share + at, k, s->keys), factor);
        vec lost = vec_mul(vec_sub(product, level_share), sixth);
        store(w->of_k + at, k, s->keys, vec_mul(of_k, scaled));
        store(w->of_k0 + at, k, s->keys, vec_mul(of_k0, scaled));
        store(w->share + at, k, s->keys, vec_fma(mean, lost, load(w->middle, k, s->keys)));
    }
}

/* ---- all ------------------------------------------------------------------------------------ */

/* Where a result with rows of `count` numbers is made: in its place, or where rows have room. */
static result result_in(float *place, size_t count, float *room, size_t row)
{
    return whole(count) == count ? (result){place, count} : (result){room, row};
}

static void take_block(const work *w, size_t first, size_t count)
{
    const ops_attention_size *s = &w->p->size;
    const float *const *in = w->p->in;
    size_t from = first * s->width, keys = whole(s->keys), width = whole(s->width);
    operand m = {in[OPS_ATTENTION_M] + first * s->depth, s->depth, 1}, dq = {w->dq, s->width, 1};
    operand of_k = {w->of_k, w->key_row, 1}, of_k0 = {w->of_k0, w->key_row, 1};
    operand q = {in[OPS_ATTENTION_Q] + from, 1, s->width};
    operand q0 = {in[OPS_ATTENTION_Q0] + from, 1, s->width}, share = {w->share, 1, w->key_row};
    result to_q = result_in(w->p->out[0] + from, s->width, w->to_q, w->width_row);
    for (size_t i = 0; i < count * s->width; i++) {
        w->dq[i] = q.data[i] - q0.data[i];
    }
    multiply(count, s->depth, keys, m, w->value, w->key_row, w->of_k, w->key_row, false);
    multiply(count, s->depth, keys, m, w->value0, w->key_row, w->of_k0, w->key_row, false);
    multiply(count, s->width, keys, dq, w->dk, w->key_row, w->share, w->key_row, false);
    for (size_t i = 0; i < count; i++) {
        share_row(w, first + i, i);
    }
    multiply(count, s->keys, width, of_k, w->key, w->width_row, to_q.data, to_q.row, false);
    multiply(count, s->keys, width, of_k0, w->key0, w->width_row, to_q.data, to_q.row, true);
    copy_rows(count, s->width, to_q.data, to_q.row, w->p->out[0] + from, s->width);
    multiply(s->width, count, keys, q, w->of_k, w->key_row, w->k.data, w->k.row, first > 0);
    multiply(s->width, count, keys, q0, w->of_k0, w->key_row, w->k.data, w->k.row, true);
    copy_rows(count, s->depth, m.data, s->depth, w->m, w->depth_row);
    multiply(s->keys, count, whole(s->depth), share, w->m, w->depth_row, w->v.data, w->v.row,
             first > 0);
}

void OPS_VARIANT(attention)(const ops_attention_pair *p, float *room)
{
    const ops_attention_size *s = &p->size;
    work w = {.p = p};
    lay_out(&w, room);
    w.k = result_in(p->out[1], s->keys, w.to_k, w.key_row);
    w.v = result_in(p->out[2], s->depth, w.to_v, w.depth_row);
    make_operands(&w);
    for (size_t first = 0; first < s->queries; first += w.block) {
        size_t left = s->queries - first;
        take_block(&w, first, left < w.block ? left : w.block);
    }
    copy_rows(s->width, s->keys, w.k.data, w.k.row, p->out[1], s->keys);
    copy_rows(s->keys, s->depth, w.v.data, w.v.row, p->out[2], s->depth);
}
