/* Runs a network that `snnconv export --to integer` wrote, with snni.h beside it: cc -O2 -o snni snni.c -lm
   ./snni NETWORK.snni < samples prints the class of each sample: C*H*W float32 values, normalised. */
#include "snni.h"
#include <math.h>

static int64_t clip(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

static int64_t window(const Layer *l, int bytes, int d, int row, int column) { /* a sum over one window */
    const Shape *s = l->shape;
    int places = s->kernel[0] * s->kernel[1], first = l->kind == SUM ? d : 0, end = l->kind == SUM ? d + 1 : s->in[0];
    int64_t sum = 0;
    for (int c = first; c < end; c++) for (int k = 0; k < places; k++) {
        int h = row * s->stride[0] - s->padding[0] + k / s->kernel[1] * s->dilation[0];
        int w = column * s->stride[1] - s->padding[1] + k % s->kernel[1] * s->dilation[1];
        if (h < 0 || w < 0 || h >= s->in[1] || w >= s->in[2]) continue;
        int64_t x = l->x[(c * s->in[1] + h) * s->in[2] + w], at = ((int64_t)d * s->in[0] + c) * places + k;
        sum += l->kind == SUM ? x : x * (bytes == 1 ? ((int8_t *)l->weights)[at] : ((int16_t *)l->weights)[at]);
    }
    return sum * (1LL << s->shift);
}

static int64_t fire(Layer *l, int d, int i, int64_t bound) { /* the spikes of one neuron */
    int64_t v = clip(l->potential[i] + l->x[i], -bound, bound), theta = l->each[d];
    int64_t spikes = clip(v / theta - (v % theta < 0), l->negative ? -l->spikes : 0, l->spikes);
    if (l->negative && spikes < -l->sent[i]) spikes = -l->sent[i];
    if (l->negative && v < 0 && v > -l->dead[d]) spikes = 0;
    l->potential[i] = v - spikes * theta, l->sent[i] += spikes;
    return spikes;
}

static void step(const Network *net, Layer *l, int first) { /* one layer in one step */
    int places = l->shape->out[1] * l->shape->out[2], width = l->shape->out[2], inputs = size(l->shape->in);
    for (int i = 0; i < inputs; i++) l->x[i] = 0;
    for (int j = 0; j < l->sources; j++) for (int i = 0; i < inputs; i++) l->x[i] += net->layers[l->from[j]].y[i];
    for (int d = 0, i = 0; d < l->shape->out[0]; d++) for (int p = 0; p < places; p++, i++) {
        if (first && l->kind == NEURONS) l->potential[i] = l->initial[d], l->sent[i] = 0;
        if (l->kind == NEURONS) l->y[i] = fire(l, d, i, (1LL << (net->head->state_bits - 1)) - 1);
        else if (l->kind == GAINS) l->y[i] = l->x[i] * l->each[d];
        else l->y[i] = window(l, net->head->weight_bytes, d, p / width, p % width) + (l->kind == WEIGHTS ? l->each[d] : 0);
    }
}

int main(int argc, char **argv) {
    Network net;
    if (argc < 2 || !read_network(argv[1], &net)) return fputs("usage: snni NETWORK.snni < samples\n", stderr), 1;
    const Head *head = net.head;
    int cells = size(head->sample), classes = size(net.layers[*net.output].shape->out);
    float *x = malloc(cells * sizeof *x), bound = (1 << (head->input_bits - 1)) - 1;
    int64_t *sum = malloc(classes * sizeof *sum), best;
    for (; fread(x, sizeof *x, cells, stdin) == (size_t)cells; printf("%d\n", (int)best)) {
        for (int i = 0; i < cells; i++) net.layers->y[i] = fmaxf(fminf(nearbyintf(x[i] / head->input_scale), bound), -bound);
        for (int c = best = 0; c < classes; c++) sum[c] = 0;
        for (int t = 0; t < head->timesteps; t++) {
            for (int k = 1; k <= head->layers; k++) step(&net, net.layers + k, t == 0);
            for (int j = 0; j < net.outputs; j++) for (int c = 0; c < classes; c++) sum[c] += net.layers[net.output[j]].y[c];
        }
        for (int c = 1; c < classes; c++) if (sum[c] > sum[best]) best = c;
    }
    return 0;
}
