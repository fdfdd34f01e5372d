/* Runs a network that `snnconv export --to integer` wrote: cc -O2 -o snni snni.c -lm
   snni NETWORK.snni < samples > classes. A sample is C*H*W float32 values, normalised; for each, its
   class is printed. It takes IF and signed neurons, and any number of samples. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t kind, *from, n, in[3], out[3], k[2], s[2], p[2], d[2], shift, *bias, *v0, *dead, spikes, negative;
    const void *w;
    int64_t *y, *x, *v, *m;
} Layer;

static int size(const int32_t *shape) { return shape[0] * shape[1] * shape[2]; }

int main(int argc, char **argv) {
    FILE *f = fopen(argv[1], "rb");
    int32_t *file = malloc(1 << 28), *w = file + 10, *out, n_out;
    if (argc < 2 || !f || !fread(file, 1, 1 << 28, f) || memcmp(file, "SNNI", 4) || file[1] != 1) return 1;
    int n = file[2], T = file[3], bytes = file[7], cells = size(file + 4);
    int64_t in_max = (1LL << (file[8] - 1)) - 1, v_max = (1LL << (file[9] - 1)) - 1;
    float in_scale, *x = malloc(4 * cells);
    memcpy(&in_scale, w, 4), w += 2, n_out = *w++, out = w, w += n_out;
    Layer *all = calloc(n + 1, sizeof *all);
    memcpy(all[0].out, file + 4, 12), all[0].y = malloc(8 * cells);
    for (Layer *l = all + 1; l <= all + n; l++) { /* 1: weights, 2: gains, 3: sums, 4: neurons */
        l->kind = *w++, l->n = *w++, l->from = w, w += l->n, memcpy(l->in, w, 60), w += 15;
        if (l->kind == 1) l->w = w, w += (l->out[0] * l->in[0] * l->k[0] * l->k[1] * bytes + 3) / 4;
        if (l->kind != 3) l->bias = w, w += l->out[0];
        if (l->kind == 4) l->v0 = w, l->dead = w += l->out[0], w += l->out[0], l->spikes = *w++, l->negative = *w++;
        l->x = malloc(8 * size(l->in)), l->y = malloc(8 * size(l->out));
        l->v = malloc(8 * size(l->out)), l->m = malloc(8 * size(l->out));
    }
    while (fread(x, 4, cells, stdin) == (size_t)cells) {
        int64_t sum[4096] = {0}, best = 0, classes = size(all[out[0]].out);
        for (int i = 0; i < cells; i++) all[0].y[i] = fmaxf(fminf(nearbyintf(x[i] / in_scale), in_max), -in_max);
        for (int t = 0; t < T; t++) {
            for (Layer *l = all + 1; l <= all + n; l++) {
                int cell = l->out[1] * l->out[2], place = l->in[1] * l->in[2];
                memset(l->x, 0, 8 * size(l->in));
                for (int j = 0; j < l->n; j++) for (int i = 0; i < size(l->in); i++) l->x[i] += all[l->from[j]].y[i];
                for (int c = 0; c < l->out[0]; c++) for (int i = 0; i < cell; i++) {
                    int64_t *y = l->y + c * cell + i, *v = l->v + c * cell + i, *m = l->m + c * cell + i, a = 0;
                    if (l->kind == 2) { *y = l->x[c * cell + i] * l->bias[c]; continue; }
                    if (l->kind == 4) {
                        if (t == 0) *v = l->v0[c], *m = 0;
                        int64_t th = l->bias[c], low = l->negative ? -l->spikes : 0;
                        *v += l->x[c * cell + i], *v = *v > v_max ? v_max : *v < -v_max ? -v_max : *v;
                        a = *v / th - (*v % th < 0), a = a < low ? low : a > l->spikes ? l->spikes : a;
                        if (l->negative && a < -*m) a = -*m;
                        if (l->negative && *v < 0 && *v > -l->dead[c]) a = 0;
                        *v -= a * th, *m += a, *y = a;
                        continue;
                    }
                    for (int b = l->kind == 1 ? 0 : c; b < (l->kind == 1 ? l->in[0] : c + 1); b++)
                        for (int q = 0; q < l->k[0] * l->k[1]; q++) {
                            int h = i / l->out[2] * l->s[0] - l->p[0] + q / l->k[1] * l->d[0];
                            int g = i % l->out[2] * l->s[1] - l->p[1] + q % l->k[1] * l->d[1];
                            if (h < 0 || g < 0 || h >= l->in[1] || g >= l->in[2]) continue;
                            int64_t o = ((int64_t)c * l->in[0] + b) * l->k[0] * l->k[1] + q, u = l->x[b * place + h * l->in[2] + g];
                            a += l->kind == 3 ? u : u * (bytes == 1 ? ((int8_t *)l->w)[o] : ((int16_t *)l->w)[o]);
                        }
                    *y = a * (1LL << l->shift) + (l->kind == 1 ? l->bias[c] : 0);
                }
            }
            for (int j = 0; j < n_out; j++) for (int c = 0; c < classes; c++) sum[c] += all[out[j]].y[c];
        }
        for (int c = 1; c < classes; c++) if (sum[c] > sum[best]) best = c;
        printf("%d\n", (int)best);
    }
    return 0;
}
