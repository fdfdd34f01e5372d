/* The file that `snnconv export --to integer` writes: 32-bit words, little-endian. */
#ifndef SNNI_H
#define SNNI_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {             /* How the file begins. */
    char magic[4];           /* SNNI */
    int32_t version;         /* 1 */
    int32_t layers, timesteps;
    int32_t sample[3];       /* C, H, W */
    int32_t weight_bytes, input_bits, state_bits;
    float input_scale, output_scale;
} Head;

typedef struct {             /* Of a layer, behind its kind and its sources. */
    int32_t in[3], out[3];   /* C, H, W */
    int32_t kernel[2], stride[2], padding[2], dilation[2]; /* height, width */
    int32_t shift;           /* of the weighted sum to the left, before the bias */
} Shape;

enum { WEIGHTS = 1, GAINS, SUM, NEURONS };

typedef struct {             /* A layer: what the file has of it, and the memory that it needs. */
    int32_t kind, sources;
    const int32_t *from;     /* its sources: 0 is the input, k is layer k */
    const Shape *shape;
    const void *weights;     /* [D, C, KH, KW], each in as many bytes as the head says */
    const int32_t *each;     /* [D]: biases, gains or thresholds */
    const int32_t *initial, *dead; /* [D]: potentials at the start, dead zones */
    int32_t spikes, negative; /* the most spikes of a step, and 1 if they may be negative */
    int64_t *x, *y;          /* what it reads and gives, [C, H, W] */
    int64_t *potential, *sent; /* [D, H, W]: of neurons, and the sum of their spikes so far */
} Layer;

typedef struct {
    const Head *head;
    Layer *layers;           /* from 1 on; 0 is the input */
    int32_t outputs;
    const int32_t *output;   /* the layers whose sum is the output */
} Network;

static int size(const int32_t *shape) { return shape[0] * shape[1] * shape[2]; }

/* Reads a layer, and returns the word behind it. */
static const int32_t *read_layer(const int32_t *word, const Head *head, Layer *l) {
    l->kind = *word++, l->sources = *word++, l->from = word, word += l->sources;
    const Shape *s = l->shape = (const Shape *)word;
    int D = s->out[0], bytes = D * s->in[0] * s->kernel[0] * s->kernel[1] * head->weight_bytes;
    word += sizeof *s / 4;
    if (l->kind == WEIGHTS) l->weights = word, word += (bytes + 3) / 4;
    if (l->kind != SUM) l->each = word, word += D;
    if (l->kind == NEURONS) {
        l->initial = word, l->dead = word + D, word += 2 * D;
        l->spikes = *word++, l->negative = *word++;
    }
    l->x = calloc(size(s->in), sizeof *l->x), l->y = calloc(size(s->out), sizeof *l->y);
    l->potential = calloc(size(s->out), sizeof *l->potential), l->sent = calloc(size(s->out), sizeof *l->sent);
    return word;
}

/* Reads a file, and returns whether it is one of these. */
static int read_network(const char *path, Network *network) {
    FILE *stream = fopen(path, "rb");
    if (!stream) return 0;
    fseek(stream, 0, SEEK_END);
    long bytes = ftell(stream);
    rewind(stream);
    Head *head = malloc(bytes > 0 ? bytes : 1);
    size_t read = fread(head, 1, bytes, stream);
    fclose(stream);
    if (read < sizeof *head || memcmp(head->magic, "SNNI", 4) || head->version != 1) return 0;
    const int32_t *word = (const int32_t *)(head + 1);
    network->head = head, network->outputs = *word++, network->output = word, word += network->outputs;
    network->layers = calloc(head->layers + 1, sizeof *network->layers);
    network->layers->y = calloc(size(head->sample), sizeof(int64_t));
    for (int k = 1; k <= head->layers; k++) word = read_layer(word, head, network->layers + k);
    return 1;
}
#endif
