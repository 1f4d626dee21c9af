/* Layers of a model, forward and backward, and Adam, which moves each as soon as its gradient is
known. Shapes as in step.c. */

#include "vectors.h"

/* Pixels at once in the first and the last layer: the gradient of their weights, 22 KB at 100 hidden
units, then stays in the innermost cache. 2^56 is finite, which the likelihood needs. */
enum { BLOCK = 56 };

typedef struct {
  double beta1, beta2, epsilon;
  double rate, correction; /* learning rate / (1 - β1^t), 1 / √(1 - β2^t) */
} Adam;

INLINE void adam_at(real *p, real *mean, real *square, const real *gradient, Adam step) {
  vec g = VEC(gradient), m = VEC(mean), v = VEC(square);
  m += (real)(1 - step.beta1) * (g - m);
  v = (real)step.beta2 * v + (real)(1 - step.beta2) * g * g;
  VEC(mean) = m, VEC(square) = v;
  VEC(p) -= (real)step.rate * m *
            reciprocal(root(v) * (real)step.correction + (real)step.epsilon);
}

static void adam(real *p, real *mean, real *square, const real *gradient, long n, Adam step) {
  long i = 0;
  for (; i + W <= n; i += W) adam_at(p + i, mean + i, square + i, gradient + i, step);
  if (i == n) return;
  real rest[4][W] = {0}; /* the last ones by way of a whole vector */
  long size = (n - i) * sizeof(real);
  memcpy(rest[0], p + i, size), memcpy(rest[1], mean + i, size);
  memcpy(rest[2], square + i, size), memcpy(rest[3], gradient + i, size);
  adam_at(rest[0], rest[1], rest[2], rest[3], step);
  memcpy(p + i, rest[0], size), memcpy(mean + i, rest[1], size);
  memcpy(square + i, rest[2], size);
}

/* A model and a batch, as hvae/training/compiled.py lays them out. */

typedef struct {
  int64_t pixels, hidden, latent, levels, is_bce, is_joint; /* is_joint: the ELBO, not documented */
  double learning_rate, beta1, beta2, epsilon, kl_weight, kl_floor;
  real *parameters, *mean, *square; /* each all layers, one after the other; Adam's moments */
} Model;

typedef struct {
  int64_t images;
  const real *x;          /* [D, padded(B)], with a row of 0 behind an odd D */
  const int32_t *start;   /* where the images of each pair of pixels start in `lit`, and the end */
  const uint16_t *lit;    /* images in which a pixel of the pair is not 0 */
  const real *noise;      /* [B, T, L], its strides below */
  int64_t noise_image, noise_level;
} Batch;

typedef struct {
  real *weight, *bias; /* the bias behind the weights: one gradient, one Adam */
  long in, out;
} Layer;

/* What one step holds of a level, [B, padded width] each. */
typedef struct {
  Layer encoder, heads, decoder_1, decoder_2;
  real *encoded, *q, *sigma, *z, *dz, *decoded, *prior; /* q: mu, then logvar; sigma lies like q */
  double weight; /* of its KL in the gradient of the loss */
} Level;

typedef struct {
  Model model;
  Adam adam;
  real *gradient, *transposed, *d_hidden;
} Context;

static void update(const Context *at, real *p, long n) {
  long offset = p - at->model.parameters;
  adam(p, at->model.mean + offset, at->model.square + offset, at->gradient, n, at->adam);
}

/* Layers. */

static void forward(real *out, const Layer *layer, const real *in, long images) {
  product(out, padded(layer->out), layer->bias, 0, in, padded(layer->in), 1, layer->weight,
          layer->out, images, layer->in, layer->out);
}

static void relu(real *h, long n) {
  for (long i = 0; i < n; i++) h[i] = h[i] < 0 ? 0 : h[i]; /* NaN stays */
}

static void relu_backward(real *dh, const real *h, long n) {
  for (long i = 0; i < n; i++) dh[i] = h[i] > 0 ? dh[i] : 0;
}

/* The gradient of a bias: the sum over the images. */
static void bias_gradient(real *bias, const real *d_out, long ld_out, long images, long out) {
  memset(bias, 0, out * sizeof(real));
  for (long b = 0; b < images; b++)
    for (long j = 0; j < out; j++) bias[j] += d_out[b * ld_out + j];
}

/* Adds to d_in, then moves the layer. */
static void backward(const Context *at, const Layer *layer, const real *in, const real *d_out,
                     real *d_in, long images) {
  long out = layer->out, ld_in = padded(layer->in), ld_out = padded(out);
  transpose(at->transposed, ld_in, layer->weight, out, layer->in, out);
  product(d_in, ld_in, d_in, ld_in, d_out, ld_out, 1, at->transposed, ld_in, images, out,
          layer->in);
  product(at->gradient, out, 0, 0, in, 1, ld_in, d_out, ld_out, layer->in, images, out);
  bias_gradient(at->gradient + layer->in * out, d_out, ld_out, images, out);
  update(at, layer->weight, (layer->in + 1) * out);
}

/* The first layer, over lit pixels alone: columns [from, from + vectors * W) of it. */

INLINE void scatter(int vectors, real *h, long ldh, const real *weight, long ldw,
                    const Batch *batch, long pixels) {
  const uint16_t *lit = batch->lit;
  long lanes = padded(batch->images);
  for (long d = 0; d < pixels; d += 2) {
    const real *x = batch->x + d * lanes, *row = weight + d * ldw;
    vec one[8], two[8];
    for (int v = 0; v < vectors; v++) one[v] = VEC(row + v * W), two[v] = VEC(row + ldw + v * W);
    for (int32_t i = batch->start[d / 2], end = batch->start[d / 2 + 1]; i < end; i++) {
      real *own = h + lit[i] * ldh, x_one = x[lit[i]], x_two = x[lanes + lit[i]];
      for (int v = 0; v < vectors; v++) VEC(own + v * W) += x_one * one[v] + x_two * two[v];
    }
  }
}

INLINE void gather(int vectors, real *gradient, long ldg, const real *dh, long ldh,
                   const Batch *batch, long first, long last) {
  const uint16_t *lit = batch->lit;
  long lanes = padded(batch->images);
  for (long d = first; d < last; d += 2) {
    const real *x = batch->x + d * lanes;
    vec one[8] = {0}, two[8] = {0};
    for (int32_t i = batch->start[d / 2], end = batch->start[d / 2 + 1]; i < end; i++) {
      const real *own = dh + lit[i] * ldh, x_one = x[lit[i]], x_two = x[lanes + lit[i]];
      for (int v = 0; v < vectors; v++)
        one[v] += x_one * VEC(own + v * W), two[v] += x_two * VEC(own + v * W);
    }
    real *row = gradient + (d - first) * ldg;
    for (int v = 0; v < vectors; v++) VEC(row + v * W) = one[v];
    for (int v = 0; v < vectors; v++) VEC(row + ldg + v * W) = two[v];
  }
}

/* `call` with the number of vectors as a constant, 8 at a time, over `columns` columns. */
#define OVER_COLUMNS(columns, from, vectors, call)                                    \
  for (long from = (columns - 1) / (8 * W) * (8 * W); from >= 0; from -= 8 * W)       \
    switch ((padded(columns - from) < 8 * W ? padded(columns - from) : 8 * W) / W) {  \
      case 1: { enum { vectors = 1 }; call; break; }                                  \
      case 2: { enum { vectors = 2 }; call; break; }                                  \
      case 3: { enum { vectors = 3 }; call; break; }                                  \
      case 4: { enum { vectors = 4 }; call; break; }                                  \
      case 5: { enum { vectors = 5 }; call; break; }                                  \
      case 6: { enum { vectors = 6 }; call; break; }                                  \
      case 7: { enum { vectors = 7 }; call; break; }                                  \
      default: { enum { vectors = 8 }; call; }                                        \
    }

static void first_forward(real *h, const Layer *layer, const Batch *batch) {
  long ldh = padded(layer->out);
  for (long b = 0; b < batch->images; b++)
    memcpy(h + b * ldh, layer->bias, layer->out * sizeof(real));
  OVER_COLUMNS(layer->out, from, n,
               scatter(n, h + from, ldh, layer->weight + from, layer->out, batch, layer->in));
}

static void first_backward(const Context *at, const Layer *layer, const real *dh,
                           const Batch *batch) {
  long out = layer->out, ldh = padded(out);
  for (long first = 0; first < layer->in; first += BLOCK) {
    long last = first + BLOCK < layer->in ? first + BLOCK : layer->in;
    OVER_COLUMNS(out, from, n,
                 gather(n, at->gradient + from, out, dh + from, ldh, batch, first, last));
    update(at, layer->weight + first * out, (last - first) * out);
  }
  bias_gradient(at->gradient, dh, ldh, batch->images, out);
  update(at, layer->bias, out);
}
