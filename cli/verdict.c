/* What the measures come to, and how they are told. */
#include "trust.h"

#include <math.h>
#include <stdlib.h>

/* Values of a method may differ from Shapley values by half their size before that is told. */
static const double MOST_DISTANCE = 0.5;

/* The base value is rounded like f(x), and a few draws do not find the most. */
static const double OF_A_MOVE = 8;

static void add_reason(const char **reasons, size_t *count, const char *reason)
{
    if (*count < OX_REASONS_MAX) {
        reasons[(*count)++] = reason;
    }
}

static void fail(ox_trust *t, const char *reason)
{
    add_reason(t->failed, &t->failed_count, reason);
}

static void doubt(ox_trust *t, const char *reason)
{
    add_reason(t->doubts, &t->doubt_count, reason);
}

/* NaN where none is known. */
static double largest_gap(const ox_trust *t)
{
    double largest = NAN;
    for (size_t i = 0; t->gaps && i < t->samples * t->targets; i++) {
        largest = fmax(largest, fabs(t->gaps[i]));
    }
    return largest;
}

static void judge_sums(ox_trust *t)
{
    if (!t->found.incomplete && !t->missed) {
        return;
    }
    if (largest_gap(t) <= OF_A_MOVE * t->moved) {
        doubt(t, "sums miss f(x) - base value by what rounding takes from f(x) itself: numbers "
                 "cancel inside the model, which double precision would help");
    } else {
        fail(t, "sums miss f(x) - base value");
    }
}

void ox_trust_judge(ox_trust *t, double tolerance)
{
    const ox_agreement *a = &t->agreement;
    if (t->found.not_finite) {
        fail(t, "there are values that are not finite");
    }
    judge_sums(t);
    if (t->found.unknown && t->adds_up && !t->summed) {
        doubt(t, "sums are not checked: explain with --gap");
    }
    if (!(t->prediction.relative <= t->prediction.most)) {
        fail(t, "predictions differ from the original's");
    }
    if (a->method && tolerance >= 0 && !(a->worst <= tolerance + 3 * a->noise)) {
        fail(t, "values differ from Shapley values by more than the tolerance");
    } else if (a->method && tolerance < 0 && !(a->median <= MOST_DISTANCE + 3 * a->noise)) {
        doubt(t, "values are far from Shapley values, to which --order=2, --splits or "
                 "--method=permutation "
                 "come nearer");
    }
    if (t->cannot) {
        doubt(t, "Shapley values were not compared with, or no curves were drawn");
    }
    if (t->curved && t->players > 1 && t->insertion.area <= t->deletion.area) {
        doubt(t, "the values say no more about what matters than their opposites would");
    }
}

/* ---- text ------------------------------------------------------------------------------ */

static void print_sums(const ox_trust *t)
{
    const ox_findings *f = &t->found;
    printf("completeness  ");
    if (!t->adds_up) {
        printf("values of %s are not meant to add up", t->method);
    } else {
        size_t checked = f->samples - f->unknown, otherwise = t->summed;
        if (checked || !otherwise) {
            printf("%zu of %zu samples add up to f(x) - base value", checked - f->incomplete,
                   checked);
        }
        if (otherwise) {
            printf("%s%zu of %zu samples add up to what Shapley values do", checked ? ", " : "",
                   otherwise - t->missed, otherwise);
        }
        if (isfinite(largest_gap(t))) {
            printf(", largest gap %.1e", largest_gap(t));
        }
    }
    printf("%s\n", f->not_finite ? ", not all are finite" : "");
    if (t->worst[0]) {
        printf("              %s\n", t->worst);
    }
    if (f->incomplete || t->missed) {
        printf("              f(x) itself moves by %.1e where inputs change in their last bit\n",
               t->moved);
    }
}

static void print_agreement(const ox_trust *t)
{
    const ox_agreement *a = &t->agreement;
    printf("agreement     ");
    if (!a->method) {
        printf("not compared: %s\n", t->cannot);
        return;
    }
    printf("with %s over %zu values: relative error %.2g (median), %.2g (sample %zu)", a->method,
           t->players, a->median, a->worst, a->worst_sample);
    if (a->count < t->samples * t->targets) {
        printf(", on the first %zu of %zu samples", a->count / t->targets, t->samples);
    }
    if (a->noise > 0) {
        printf(", of which sampling leaves about %.2g", a->noise);
    }
    printf("\n");
}

/* f along the way in numbers from 0 to 9, some of the steps. */
static void print_curve(const ox_trust *t, const char *name, const ox_curve *c)
{
    printf("%-13s area %.3f ", name, c->area);
    int64_t shown = t->steps < 10 ? t->steps : 10;
    for (int64_t i = 0; i <= shown; i++) {
        printf(" %.2f", c->points[i * t->steps / shown]);
    }
    printf("\n");
}

static void print_reasons(const char *verdict, const char *const *reasons, size_t count)
{
    printf("verdict       %s: ", verdict);
    for (size_t i = 0; i < count; i++) {
        printf("%s%s", i ? "; " : "", reasons[i]);
    }
    printf("\n");
}

void ox_trust_print(const ox_trust *t)
{
    const ox_prediction *p = &t->prediction;
    print_sums(t);
    printf("prediction    \"%s\" differs by %.1e of its largest value from the original%s\n",
           p->output, p->relative, p->taken_out ? ", which was taken out of the model" : "");
    print_agreement(t);
    if (t->curved) {
        print_curve(t, "deletion", &t->deletion);
        print_curve(t, "insertion", &t->insertion);
        print_curve(t, "drawn order", &t->drawn);
    } else if (t->agreement.method) {
        printf("curves        not drawn: %s\n", t->cannot);
    }
    if (t->failed_count) {
        print_reasons("wrong", t->failed, t->failed_count);
    } else if (t->doubt_count) {
        print_reasons("doubtful", t->doubts, t->doubt_count);
    } else {
        printf("verdict       good\n");
    }
}

/* ---- JSON ------------------------------------------------------------------------------ */

static void put_numbers(ox_json *json, const char *key, const double *numbers, size_t count)
{
    ox_json_begin(json, key, '[');
    for (size_t i = 0; numbers && i < count; i++) {
        ox_json_number(json, NULL, numbers[i]);
    }
    ox_json_end(json, ']');
}

static void put_sums(ox_json *json, const ox_trust *t)
{
    ox_json_begin(json, "completeness", '{');
    ox_json_flag(json, "meant", t->adds_up);
    ox_json_integer(json, "not_finite", (long long)t->found.not_finite);
    ox_json_integer(json, "incomplete", (long long)t->found.incomplete);
    ox_json_integer(json, "not_checked", (long long)t->found.unknown);
    ox_json_integer(json, "summed", (long long)t->summed);
    ox_json_integer(json, "missed", (long long)t->missed);
    put_numbers(json, "gaps", t->gaps, t->samples * t->targets);
    ox_json_number(json, "rounding", t->moved);
    ox_json_end(json, '}');
}

static void put_prediction(ox_json *json, const ox_prediction *p)
{
    ox_json_begin(json, "prediction", '{');
    ox_json_text(json, "output", p->output);
    ox_json_flag(json, "taken_out", p->taken_out);
    ox_json_number(json, "difference", p->difference);
    ox_json_number(json, "relative", p->relative);
    ox_json_end(json, '}');
}

static void put_agreement(ox_json *json, const ox_trust *t)
{
    const ox_agreement *a = &t->agreement;
    ox_json_begin(json, "agreement", '{');
    ox_json_text(json, "method", a->method);
    if (a->method) {
        ox_json_number(json, "median", a->median);
        ox_json_number(json, "worst", a->worst);
        ox_json_integer(json, "worst_sample", (long long)a->worst_sample);
        ox_json_number(json, "noise", a->noise);
        put_numbers(json, "each", a->each, a->count);
    }
    ox_json_end(json, '}');
}

static void put_curve(ox_json *json, const char *key, const ox_trust *t, const ox_curve *c)
{
    ox_json_begin(json, key, '{');
    ox_json_number(json, "area", c->area);
    put_numbers(json, "curve", c->points, (size_t)t->steps + 1);
    put_numbers(json, "areas", c->areas, t->samples * t->targets);
    ox_json_end(json, '}');
}

void ox_trust_json(const ox_trust *t, FILE *file)
{
    ox_json json = {.file = file};
    ox_json_begin(&json, NULL, '{');
    ox_json_text(&json, "method", t->method);
    ox_json_integer(&json, "samples", (long long)t->samples);
    ox_json_integer(&json, "targets", (long long)t->targets);
    ox_json_integer(&json, "values", (long long)t->players);
    put_sums(&json, t);
    put_prediction(&json, &t->prediction);
    put_agreement(&json, t);
    if (t->curved) {
        put_curve(&json, "deletion", t, &t->deletion);
        put_curve(&json, "insertion", t, &t->insertion);
        put_curve(&json, "drawn", t, &t->drawn);
    }
    const char *verdict = t->failed_count ? "wrong" : t->doubt_count ? "doubtful" : "good";
    ox_json_text(&json, "verdict", verdict);
    ox_json_begin(&json, "reasons", '[');
    for (size_t i = 0; i < t->failed_count + t->doubt_count; i++) {
        ox_json_text(&json, NULL,
                     i < t->failed_count ? t->failed[i] : t->doubts[i - t->failed_count]);
    }
    ox_json_end(&json, ']');
    ox_json_end(&json, '}');
    fprintf(file, "\n");
}

void ox_trust_free(ox_trust *t)
{
    free(t->gaps);
    free(t->agreement.each);
    free(t->deletion.areas);
    free(t->insertion.areas);
    free(t->drawn.areas);
}
