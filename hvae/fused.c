/* The training step of one model on one CPU core: forward, backward and Adam in one pass.

The same mathematics as hvae/objectives.py and hvae/adam.py, in an order that caches like:
- the first layer skips pixels that are 0, four in five of MNIST: exact, as they add nothing;
- the last layer goes by blocks of pixels, from logits to updated weights, so that neither logits
  nor the gradient of its weights ever leave the innermost caches.
Equal to the step of hvae/training.py up to rounding (tests/hvae/test_fused.py).

Shapes: B batch, D pixels, H hidden, L latent, T levels. Rows are padded to whole vectors: what the
padding holds is never read as a result. Weights are [in, out], but the last layer's [D, H].
Plain C with the vector extensions of GCC and Clang; float, or with -DDOUBLE double, for tests. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#ifdef DOUBLE
typedef double real;
typedef int64_t integer;
#define SQRT sqrt
#define LOG log
#else
typedef float real;
typedef int32_t integer;
#define SQRT sqrtf
#define LOG logf
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
enum { W = VECTOR_BYTES / sizeof(real), BLOCK = 56, MOST_VECTORS = 3 };
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define VEC(address) (*(vec *)(address))

INLINE long padded(long n) { return (n + W - 1) / W * W; }
INLINE vec choose(ivec where, vec a, vec b) { return (vec)((where & (ivec)a) | (~where & (ivec)b)); }

INLINE vec magnitude(vec x) { return choose(x < 0, -x, x); }

/* Matrix products. */

INLINE void tile(int rows, int vectors, real *c, long ldc, const real *start, long lds,
                 const real *a, long row, long column, const real *b, long ldb, long inner) {
  vec sum[8][MOST_VECTORS];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) sum[r][v] = VEC(start + r * lds + v * W);
  for (long k = 0; k < inner; k++) {
    vec factor[MOST_VECTORS];
    for (int v = 0; v < vectors; v++) factor[v] = VEC(b + k * ldb + v * W);
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < vectors; v++) sum[r][v] += a[r * row + k * column] * factor[v];
  }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) VEC(c + r * ldc + v * W) = sum[r][v];
}

INLINE void columns(int vectors, real *c, long ldc, const real *start, long lds, const real *a,
                    long row, long column, const real *b, long ldb, long outer, long inner) {
  long m = 0;
#define ROWS(n)                                                                              \
  for (; m + n <= outer; m += n)                                                             \
    tile(n, vectors, c + m * ldc, ldc, start + m * lds, lds, a + m * row, row, column, b, ldb, inner)
  ROWS(8);
  ROWS(4);
  ROWS(1);
#undef ROWS
}

static const real ZEROS[MOST_VECTORS * W];

/* c[m, n] = start[m, n] + Σ_k a[m, k] b[k, n], start 0 where there is none, a at
a[m * row + k * column]. It writes whole vectors,
from the last columns to the first: where rows are not padded, what spills over the end of one is
then overwritten by the next. */
static void product(real *c, long ldc, const real *start, long lds, const real *a, long row,
                    long column, const real *b, long ldb, long outer, long inner, long width) {
  long left = padded(width) / W;
  while (left > 0) {
    long vectors = left % 3 == 0 ? 3 : left >= 2 ? 2 : 1;
    left -= vectors;
    real *to = c + left * W;
    const real *from = start ? start + left * W : ZEROS, *factor = b + left * W;
    if (vectors == 3) columns(3, to, ldc, from, lds, a, row, column, factor, ldb, outer, inner);
    if (vectors == 2) columns(2, to, ldc, from, lds, a, row, column, factor, ldb, outer, inner);
    if (vectors == 1) columns(1, to, ldc, from, lds, a, row, column, factor, ldb, outer, inner);
  }
}

static void transpose(real *to, long ld, const real *from, long row, long rows, long width) {
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < width; j++) to[j * ld + i] = from[i * row + j];
}

/* Functions of single numbers. */

/* e^x within two units of the last place: 2^n e^r with |r| <= ln(2)/2 (Cody & Waite 1980). */
INLINE vec exponential(vec x) {
#ifdef DOUBLE
  vec e;
  for (int i = 0; i < W; i++) e[i] = exp(x[i]);
  return e;
#else
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  vec low = x * 0.0f - 87.3f, high = x * 0.0f + 88.3f; /* beyond them float over- or underflows */
  x = choose(x < low, low, x);
  x = choose(x > high, high, x);
  vec shifted = x * 1.44269504f + magic, n = shifted - magic;
  vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vec e = r * 1.9875691500e-4f + 1.3981999507e-3f;
  e = e * r + 8.3334519073e-3f;
  e = e * r + 4.1665795894e-2f;
  e = e * r + 1.6666665459e-1f;
  e = e * r + 5.0000001201e-1f;
  e = e * r * r + r + 1.0f;
  return e * (vec)(((ivec)shifted - 0x4B400000 + 127) << 23);
#endif
}

/* 1 / x and √x. AVX-512 has estimates good for 14 bits, which one step of Newton doubles: a third of
the time of its division and root, which Adam would wait for. */
INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__) && !defined(DOUBLE)
  vec r = (vec)_mm512_rcp14_ps((__m512)x);
  return r * (2 - x * r);
#else
  return 1 / x;
#endif
}

INLINE vec root(vec x) {
#if defined(__AVX512F__) && !defined(DOUBLE)
  vec least = 0 * x + 1e-37f; /* the estimate at 0 is infinite */
  vec r = (vec)_mm512_rsqrt14_ps((__m512)choose(x < least, least, x));
  return x * r * (1.5f - 0.5f * x * r * r);
#else
  for (int i = 0; i < W; i++) x[i] = SQRT(x[i]);
  return x;
#endif
}

typedef struct {
  double rate, correction; /* learning rate / (1 - β1^t), 1 / √(1 - β2^t) */
} Adam;

INLINE void adam_at(real *p, real *mean, real *square, const real *gradient, real rate,
                    real correction) {
  vec g = VEC(gradient), m = VEC(mean), v = VEC(square);
  m += (real)(1 - 0.9) * (g - m);
  v = (real)0.999 * v + (real)(1 - 0.999) * g * g;
  VEC(mean) = m, VEC(square) = v;
  VEC(p) -= rate * m * reciprocal(root(v) * correction + (real)1e-8);
}

static void adam(real *p, real *mean, real *square, const real *gradient, long n, Adam step) {
  long i = 0;
  for (; i + W <= n; i += W)
    adam_at(p + i, mean + i, square + i, gradient + i, step.rate, step.correction);
  if (i == n) return;
  real rest[4][W] = {0}; /* the last ones by way of a whole vector */
  long size = (n - i) * sizeof(real);
  memcpy(rest[0], p + i, size), memcpy(rest[1], mean + i, size);
  memcpy(rest[2], square + i, size), memcpy(rest[3], gradient + i, size);
  adam_at(rest[0], rest[1], rest[2], rest[3], step.rate, step.correction);
  memcpy(p + i, rest[0], size), memcpy(mean + i, rest[1], size);
  memcpy(square + i, rest[2], size);
}

/* A model and a batch, as hvae/fused.py lays them out. */

typedef struct {
  int64_t pixels, hidden, latent, levels, is_bce, is_joint; /* is_joint: the ELBO, not documented */
  double learning_rate, kl_weight, kl_floor;
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

/* Adds to d_in where there is one, then moves the layer. */
static void backward(const Context *at, const Layer *layer, const real *in, const real *d_out,
                     real *d_in, long images) {
  long out = layer->out, ld_in = padded(layer->in), ld_out = padded(out);
  if (d_in) {
    transpose(at->transposed, ld_in, layer->weight, out, layer->in, out);
    product(d_in, ld_in, d_in, ld_in, d_out, ld_out, 1, at->transposed, ld_in, images, out,
            layer->in);
  }
  product(at->gradient, out, 0, 0, in, 1, ld_in, d_out, ld_out, layer->in, images, out);
  real *bias = at->gradient + layer->in * out;
  memset(bias, 0, out * sizeof(real));
  for (long b = 0; b < images; b++)
    for (long j = 0; j < out; j++) bias[j] += d_out[b * ld_out + j];
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
  for (long b = 0; b < batch->images; b++) memcpy(h + b * ldh, layer->bias, layer->out * sizeof(real));
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
  memset(at->gradient, 0, out * sizeof(real));
  for (long b = 0; b < batch->images; b++)
    for (long j = 0; j < out; j++) at->gradient[j] += dh[b * ldh + j];
  update(at, layer->bias, out);
}

/* The last layer and the likelihood: from hidden units to the gradient of the hidden units. */

/* Logits become gradients times `scale`; Σ over the pixels of the negative log-likelihood is
`linear` plus the log of `factors`. Both: rows [n, padded(B)] of as many pixels. */
INLINE void pixels_bce(real *y, const real *x, real bias, const real *scale, real *linear,
                       real *factors, long lanes) {
  for (long b = 0; b < lanes; b += W) {
    vec l = VEC(y + b) + bias, size = magnitude(l), pixel = VEC(x + b);
    vec e = exponential(-size), large = reciprocal(e + 1); /* the sigmoid of |l| */
    VEC(linear + b) += (real)0.5 * (l + size) - pixel * l;
    VEC(factors + b) *= e + 1;
    VEC(y + b) = (choose(l > 0, large, e * large) - pixel) * VEC(scale + b);
  }
}

INLINE void pixels_mse(real *y, const real *x, real bias, const real *scale, real *linear,
                       long lanes) {
  for (long b = 0; b < lanes; b += W) {
    vec l = VEC(y + b) + bias, pixel = VEC(x + b);
    vec e = exponential(-magnitude(l)), large = reciprocal(e + 1), small = e * large;
    vec error = choose(l > 0, large, small) - pixel;
    VEC(linear + b) += error * error;
    VEC(y + b) = 2 * error * large * small * VEC(scale + b); /* s'(l) = s(|l|) s(-|l|) */
  }
}

INLINE real sum_of(const real *row, long lanes) {
  vec sum = {0};
  for (long b = 0; b < lanes; b += W) sum += VEC(row + b);
  real part[W];
  memcpy(part, &sum, sizeof part);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  return part[0];
}

/* Returns the reconstruction term, summed over the batch; adds to d_hidden; moves the layer. */
static double last_layer(const Context *at, const Layer *layer, const real *hidden,
                         const Batch *batch, real *d_hidden, real *work) {
  long images = batch->images, lanes = padded(images), width = layer->in, ldh = padded(width);
  real *y = work, *across = y + BLOCK * lanes, *scale = across + width * lanes;
  real *linear = scale + lanes, *factors = linear + lanes, *bias = factors + lanes;
  double total = 0, share = at->model.is_bce || !at->model.is_joint ? 1.0 : 0.5;
  memset(across, 0, width * lanes * sizeof(real));
  transpose(across, lanes, hidden, ldh, images, width);
  for (long b = 0; b < lanes; b++) scale[b] = b < images ? (real)(share / images) : 0;
  for (long first = 0; first < layer->out; first += BLOCK) {
    long rows = first + BLOCK < layer->out ? BLOCK : layer->out - first;
    real *weight = layer->weight + first * width;
    product(y, lanes, 0, 0, weight, width, 1, across, lanes, rows, width, lanes);
    for (long b = 0; b < lanes; b++) linear[b] = 0, factors[b] = 1;
    for (long d = 0; d < rows; d++) {
      real *row = y + d * lanes, own = layer->bias[first + d];
      const real *x = batch->x + (first + d) * lanes;
      if (at->model.is_bce)
        pixels_bce(row, x, own, scale, linear, factors, lanes);
      else
        pixels_mse(row, x, own, scale, linear, lanes);
      bias[d] = sum_of(row, lanes);
    }
    for (long b = 0; b < images; b++) total += linear[b] + LOG(factors[b]);
    product(d_hidden, ldh, d_hidden, ldh, y, 1, lanes, weight, width, images, rows, width);
    product(at->gradient, width, 0, 0, y, lanes, 1, hidden, ldh, rows, images, width);
    update(at, weight, rows * width);
    memcpy(at->gradient, bias, rows * sizeof(real));
    update(at, layer->bias + first, rows);
  }
  const double log_2_pi = 1.8378770664093454836;
  return share * total + (share < 1 ? 0.5 * log_2_pi * layer->out * images : 0);
}

/* The latents of a level. Where the KL is in closed form, it is at mu and charges the variance;
else at the drawn z, which has it already. */

/* Its KL, summed over the batch. */
static double kl(const Level *level, const Model *model, long images, int is_top) {
  long L = model->latent, ldz = padded(L), ldq = padded(2 * L);
  int is_closed = is_top || !model->is_joint;
  double total = 0;
  for (long b = 0; b < images; b++) {
    const real *mu = level->q + b * ldq, *logvar = mu + L, *sigma = level->sigma + b * ldq + L;
    const real *prior = level->prior + b * ldz, *z = level->z + b * ldz;
    for (long l = 0; l < L; l++) {
      real from_prior = (is_closed ? mu[l] : z[l]) - prior[l];
      real variance = is_closed ? sigma[l] * sigma[l] : 0;
      total += (real)0.5 * (variance + from_prior * from_prior - 1 - logvar[l]);
    }
  }
  return total;
}

static void draw(const Level *level, long L, const Batch *batch, long t) {
  long ldz = padded(L), ldq = padded(2 * L);
  for (long i = 0; i < batch->images * ldq; i += W)
    VEC(level->sigma + i) = exponential((real)0.5 * VEC(level->q + i));
  for (long b = 0; b < batch->images; b++) {
    const real *mu = level->q + b * ldq, *sigma = level->sigma + b * ldq + L;
    const real *noise = batch->noise + b * batch->noise_image + t * batch->noise_level;
    for (long l = 0; l < L; l++) level->z[b * ldz + l] = mu[l] + noise[l] * sigma[l];
  }
}

/* What the KL alone gives: the gradients of the prior's mean (into d_prior, where there is one) and
of z. Called once all of the forward pass is done. */
static void kl_backward(const Level *level, const Model *model, long images, real *d_prior) {
  long L = model->latent, ldz = padded(L), ldq = padded(2 * L);
  real weight = level->weight / images;
  memset(level->dz, 0, images * ldz * sizeof(real));
  for (long b = 0; b < images && d_prior; b++) /* the top level has neither */
    for (long l = 0; l < L; l++) {
      real at = model->is_joint ? level->z[b * ldz + l] : level->q[b * ldq + l];
      real pull = weight * (at - level->prior[b * ldz + l]);
      d_prior[b * ldz + l] = -pull;
      if (model->is_joint) level->dz[b * ldz + l] = pull;
    }
}

/* The gradient of q, once dz is complete: into q's own place, which nothing needs any more. */
static void q_backward(const Level *level, const Model *model, const Batch *batch, long t,
                       int is_top) {
  long L = model->latent, ldz = padded(L), ldq = padded(2 * L);
  int is_closed = is_top || !model->is_joint;
  real weight = level->weight / batch->images;
  for (long b = 0; b < batch->images; b++) {
    real *mu = level->q + b * ldq, *logvar = mu + L;
    const real *sigma = level->sigma + b * ldq + L, *dz = level->dz + b * ldz;
    const real *noise = batch->noise + b * batch->noise_image + t * batch->noise_level;
    for (long l = 0; l < L; l++) {
      real pull = is_closed ? weight * (mu[l] - level->prior[b * ldz + l]) : 0;
      real variance = is_closed ? sigma[l] * sigma[l] : 0;
      mu[l] = dz[l] + pull;
      logvar[l] = (real)0.5 * (dz[l] * noise[l] * sigma[l] + weight * (variance - 1));
    }
  }
}

/* The step. */

static real *take(real **from, long n) {
  real *taken = *from;
  *from += padded(n) + MOST_VECTORS * W; /* whole vectors may be read and written past the end */
  return taken;
}

static Layer layer_at(real **parameters, long in, long out) {
  Layer layer = {*parameters, *parameters + in * out, in, out};
  *parameters += (in + 1) * out;
  return layer;
}

enum { MOST_LEVELS = 16 };

/* One step. Adds to sums [2 + T]: loss, reconstruction, KL a level, summed over the batch. */
static void step(const Context *at, const Batch *batch, real *work, double *sums) {
  const Model *model = &at->model;
  long D = model->pixels, H = model->hidden, L = model->latent, T = model->levels;
  long B = batch->images, hidden = B * padded(H), latent = B * padded(L);
  real *parameters = model->parameters;
  Level levels[MOST_LEVELS];
  for (long t = 0; t < T; t++) {
    Level *level = &levels[t];
    level->encoder = layer_at(&parameters, t ? L : D, H);
    level->heads = layer_at(&parameters, H, 2 * L);
    level->decoder_1 = layer_at(&parameters, L, H);
    level->decoder_2 = layer_at(&parameters, H, t ? L : D);
    level->encoded = take(&work, hidden), level->decoded = take(&work, hidden);
    level->q = take(&work, B * padded(2 * L)), level->sigma = take(&work, B * padded(2 * L));
    level->z = take(&work, latent), level->dz = take(&work, latent);
    level->prior = take(&work, latent);
  }
  real *d_prior = take(&work, T * latent);
  memset(levels[T - 1].prior, 0, latent * sizeof(real));

  for (long t = 0; t < T; t++) {
    Level *level = &levels[t];
    if (t)
      forward(level->encoded, &level->encoder, levels[t - 1].z, B);
    else
      first_forward(level->encoded, &level->encoder, batch);
    relu(level->encoded, hidden);
    forward(level->q, &level->heads, level->encoded, B);
    draw(level, L, batch, t);
    forward(level->decoded, &level->decoder_1, level->z, B);
    relu(level->decoded, hidden);
    if (t) forward(levels[t - 1].prior, &level->decoder_2, level->decoded, B);
  }

  double loss = 0, factor = model->kl_weight * (model->is_joint ? 1 : 2);
  for (long t = 0; t < T; t++) {
    double mean = kl(&levels[t], model, B, t == T - 1) / B;
    levels[t].weight = mean > model->kl_floor ? factor : 0;
    loss += factor * (mean > model->kl_floor ? mean : model->kl_floor);
    sums[2 + t] += mean * B;
    kl_backward(&levels[t], model, B, t < T - 1 ? d_prior + t * latent : 0);
  }

  for (long t = 0; t < T; t++) {
    Level *level = &levels[t];
    memset(at->d_hidden, 0, hidden * sizeof(real));
    if (t) {
      backward(at, &level->decoder_2, level->decoded, d_prior + (t - 1) * latent, at->d_hidden, B);
    } else {
      double reconstruction = last_layer(at, &level->decoder_2, level->decoded, batch, at->d_hidden, work);
      sums[0] += loss * B + reconstruction, sums[1] += reconstruction;
    }
    relu_backward(at->d_hidden, level->decoded, hidden);
    backward(at, &level->decoder_1, level->z, at->d_hidden, level->dz, B);
  }
  for (long t = T - 1; t >= 0; t--) {
    Level *level = &levels[t];
    q_backward(level, model, batch, t, t == T - 1);
    memset(at->d_hidden, 0, hidden * sizeof(real));
    backward(at, &level->heads, level->encoded, level->q, at->d_hidden, B);
    relu_backward(at->d_hidden, level->encoded, hidden);
    if (t)
      backward(at, &level->encoder, levels[t - 1].z, at->d_hidden, levels[t - 1].dz, B);
    else
      first_backward(at, &level->encoder, at->d_hidden, batch);
  }
}

/* What Python calls. */

/* For an evaluation: Σ softplus(l) over the pixels, and with x Σ (sigmoid(l) - x)², of the logits of
hidden units [S, B, H]: [S, B] each. x [D, padded(B)], or null; work [(BLOCK + H + 3) padded(B)]. */
void pixel_sums(const real *hidden, int64_t draws, int64_t images, int64_t width,
                const real *weight, const real *bias, int64_t pixels, const real *x, real *work,
                real *partition, real *error) {
  long lanes = padded(images);
  real *y = work, *across = y + BLOCK * lanes, *linear = across + width * lanes;
  real *factors = linear + lanes, *squares = factors + lanes;
  memset(across, 0, width * lanes * sizeof(real));
  for (long s = 0; s < draws; s++) {
    transpose(across, lanes, hidden + s * images * width, width, images, width);
    memset(linear, 0, lanes * sizeof(real));
    memset(squares, 0, lanes * sizeof(real));
    for (long first = 0; first < pixels; first += BLOCK) {
      long rows = first + BLOCK < pixels ? BLOCK : pixels - first;
      product(y, lanes, 0, 0, weight + first * width, width, 1, across, lanes, rows, width, lanes);
      for (long b = 0; b < lanes; b++) factors[b] = 1;
      for (long d = 0; d < rows; d++)
        for (long b = 0; b < lanes; b += W) {
          vec l = VEC(y + d * lanes + b) + bias[first + d], size = magnitude(l);
          vec e = exponential(-size);
          VEC(linear + b) += (real)0.5 * (l + size);
          VEC(factors + b) *= e + 1;
          if (x) {
            vec large = reciprocal(e + 1);
            vec off = choose(l > 0, large, e * large) - VEC(x + (first + d) * lanes + b);
            VEC(squares + b) += off * off;
          }
        }
      for (long b = 0; b < lanes; b++) linear[b] += LOG(factors[b]);
    }
    memcpy(partition + s * images, linear, images * sizeof(real));
    if (x) memcpy(error + s * images, squares, images * sizeof(real));
  }
}

/* Images in whole vectors: the width of a row of x. */
int64_t padded_images(int64_t images) { return padded(images); }

/* Rows of `padded(H)` that hold any gradient made at once, and any transposed weights. */
static long gradient_rows(const Model *model) {
  long latents = 2 * padded(2 * model->latent); /* [H + 1, 2 L] is the same as [2 L, H] and a row */
  return (BLOCK > latents ? BLOCK : latents) + 2;
}

/* Numbers of `work` that steps on up to `images` images need. */
int64_t work_size(const Model *model, int64_t images) {
  long H = model->hidden, L = model->latent, T = model->levels;
  long slack = (MOST_VECTORS + 1) * W, lanes = padded(images);
  long level = images * (2 * padded(H) + 2 * padded(2 * L) + 4 * padded(L)) + 8 * slack;
  long scratch = (2 * gradient_rows(model) + images) * padded(H) + 4 * slack;
  long last = (BLOCK + H + 3) * lanes + BLOCK + slack;
  return T * level + scratch + last;
}

/* Lays out a batch: x [2 P, padded(B)], start [P + 1], lit [at most B * P + 1], where P pairs hold
the `width` pixels of images `order` (B). bytes: room for x as bytes. */
static void prepare(const uint8_t *pixels, const int64_t *order, long images, long width,
                    double most, real *x, int32_t *start, uint16_t *lit, uint8_t *bytes) {
  long lanes = padded(images), pairs = (width + 1) / 2;
  memset(bytes, 0, 2 * pairs * lanes);
  for (long b = 0; b < images; b++) {
    const uint8_t *row = pixels + order[b] * width;
    if (b + 2 < images) /* the images lie anywhere */
      for (long d = 0; d < width; d += 64) __builtin_prefetch(pixels + order[b + 2] * width + d);
    for (long d = 0; d < width; d += 8) {
      uint64_t eight = 0; /* pixels at once: most are all 0 */
      long end = d + 8 < width ? d + 8 : width;
      memcpy(&eight, row + d, end - d);
      for (long i = d; eight && i < end; i++) bytes[i * lanes + b] = row[i];
    }
  }
  for (long i = 0; i < 2 * pairs * lanes; i++) x[i] = (real)bytes[i] / (real)most;
  int32_t n = 0;
  for (long pair = 0; pair < pairs; pair++) {
    const uint8_t *one = bytes + 2 * pair * lanes, *two = one + lanes;
    uint8_t any = 0;
    for (long b = 0; b < lanes; b++) any |= one[b] | two[b];
    start[pair] = n;
    for (long b = 0; any && b < images; b++) {
      lit[n] = b;
      n += (one[b] | two[b]) != 0;
    }
  }
  start[pairs] = n;
}

/* Lays out `count` batches of up to `size` images in room for each: the images `order` (N of them)
of an epoch, and the noise of their positions. */
void prepare_all(Batch *batches, int64_t count, int64_t size, const uint8_t *pixels,
                 const int64_t *order, int64_t images, int64_t width, double most,
                 const real *noise, int64_t noise_image, int64_t noise_level, real *x,
                 int32_t *start, uint16_t *lit, uint8_t *bytes) {
  long pairs = (width + 1) / 2, room = 2 * pairs * padded(size);
  for (long i = 0; i < count; i++) {
    long first = i * size, own = images - first < size ? images - first : size;
    Batch batch = {own, x + i * room, start + i * (pairs + 1), lit + i * (room / 2 + 1),
                   noise + first * noise_image, noise_image, noise_level};
    prepare(pixels, order + first, own, width, most, x + i * room, start + i * (pairs + 1),
            lit + i * (room / 2 + 1), bytes);
    batches[i] = batch;
  }
}

/* Steps on `count` batches, the first of them Adam's number `number` (from 1). */
void steps(const Model *model, const Batch *batches, int64_t count, int64_t number, real *work,
           double *sums) {
  long room = gradient_rows(model) * padded(model->hidden);
  for (long i = 0; i < count; i++) {
    real *rest = work;
    Context at = {.model = *model};
    at.gradient = take(&rest, room);
    at.transposed = take(&rest, room);
    at.d_hidden = take(&rest, batches[i].images * padded(model->hidden));
    at.adam.rate = model->learning_rate / (1 - pow(0.9, number + i));
    at.adam.correction = 1 / sqrt(1 - pow(0.999, number + i));
    step(&at, &batches[i], rest, sums);
  }
}
