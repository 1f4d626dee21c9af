/* The training step of one model on one CPU core: forward, backward and Adam in one pass.

The same mathematics as hvae/model/objectives.py and hvae/training/adam.py, in an order that caches like:
- the first layer skips pixels that are 0, four in five of MNIST: exact, as they add nothing;
- the last layer goes by blocks of pixels, from logits to updated weights, so that neither logits
  nor the gradient of its weights ever leave the innermost caches.
Equal to the step of hvae/training/traced.py up to rounding (tests/hvae/training/test_compiled.py).

Shapes: B batch, D pixels, H hidden, L latent, T levels. Rows are padded to whole vectors: what the
padding holds is never read as a result. Weights are [in, out], but the last layer's [D, H]. */

#include "densities.h"

/* The last layer and the likelihood: from hidden units to the gradient of the hidden units. */

/* Logits become gradients times `scale`; Σ over the pixels of the negative log-likelihood is
`linear` plus the log of `factors`. Both: rows [n, padded(B)] of as many pixels. */
INLINE void pixels_bce(real *y, const real *x, real bias, const real *scale, real *linear,
                       real *factors, long lanes) {
  for (long b = 0; b < lanes; b += W) {
    vec l = VEC(y + b) + bias, size = magnitude(l), pixel = VEC(x + b);
    vec e = decay(size), large = reciprocal(e + 1); /* the sigmoid of |l| */
    VEC(linear + b) += (real)0.5 * (l + size) - pixel * l;
    VEC(factors + b) *= e + 1;
    VEC(y + b) = (choose(l > 0, large, e * large) - pixel) * VEC(scale + b);
  }
}

INLINE void pixels_mse(real *y, const real *x, real bias, const real *scale, real *linear,
                       long lanes) {
  for (long b = 0; b < lanes; b += W) {
    vec l = VEC(y + b) + bias, pixel = VEC(x + b);
    vec e = decay(magnitude(l)), large = reciprocal(e + 1), small = e * large;
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
  *from += padded(n) + SLACK;
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
      double reconstruction =
          last_layer(at, &level->decoder_2, level->decoded, batch, at->d_hidden, work);
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

/* What Python asks for as it loads this, so that it holds no copy. */
const int64_t model_bytes = sizeof(Model), batch_bytes = sizeof(Batch);
const int64_t slack = SLACK;              /* behind the parameters, never written */
const int64_t most_levels = MOST_LEVELS;
const int64_t most_images = UINT16_MAX;   /* of a batch: `lit` has 16 bits for each */

/* What Python calls. */

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
  long spare = SLACK + W, lanes = padded(images);
  long level = images * (2 * padded(H) + 2 * padded(2 * L) + 4 * padded(L)) + 8 * spare;
  long scratch = (2 * gradient_rows(model) + images) * padded(H) + 4 * spare;
  long last = (BLOCK + H + 3) * lanes + BLOCK + spare;
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
    prepare(pixels, order + first, own, width, most, x, start, lit, bytes);
    batches[i] = (Batch){own, x, start, lit, noise + first * noise_image, noise_image, noise_level};
    x += room, start += pairs + 1, lit += room / 2 + 1;
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
    at.adam = (Adam){model->beta1, model->beta2, model->epsilon};
    at.adam.rate = model->learning_rate / (1 - pow(model->beta1, number + i));
    at.adam.correction = 1 / sqrt(1 - pow(model->beta2, number + i));
    step(&at, &batches[i], rest, sums);
  }
}
