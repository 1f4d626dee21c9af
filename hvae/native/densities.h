/* For an evaluation: what the likelihood and the levels of a model say of many draws. Weights are as
PyTorch has them, [out, in]. Shapes: N rows, D pixels, H hidden, L latent, T levels. */

#include "layers.h"

/* Rows that are taken at once, as columns that fit the innermost cache. */
enum { PANEL = MOST_VECTORS * W };
const int64_t panel = PANEL;

/* Adds the sums over `rows` pixels, from their logits without bias y [rows, PANEL]; x of row d at
x + d * ldx, or null. */
INLINE void add_pixels(const real *y, const real *bias, const real *x, long ldx, long rows,
                       real *partition, real *error) {
  for (long i = 0; i < PANEL; i += W) {
    vec linear = all(0), factors = all(1), squares = all(0);
    for (long d = 0; d < rows; d++) {
      vec l = VEC(y + d * PANEL + i) + bias[d], size = magnitude(l), e = decay(size);
      linear += (real)0.5 * (l + size);
      factors += factors * e;
      if (x) {
        vec large = reciprocal(e + 1); /* the sigmoid of |l| */
        vec off = choose(l > 0, large, e * large) - VEC(x + d * ldx + i);
        squares += off * off;
      }
    }
    for (int k = 0; k < W; k++) linear[k] += LOG(factors[k]);
    VEC(partition + i) += linear, VEC(error + i) += squares;
  }
}

/* For an evaluation: Σ softplus(l) over the pixels, and with x Σ (sigmoid(l) - x)², of the logits of
hidden units [N, H]: [N] each. x [D, period + PANEL], or null: column i is the image of row i and of
all rows `period` apart, the first images once more behind the last. */
void pixel_sums(const real *hidden, int64_t n, int64_t width, const real *weight, const real *bias,
                int64_t pixels, const real *x, int64_t period, real *across, real *partition,
                real *error) {
  real y[BLOCK * PANEL], sums[2][PANEL];
  long ldx = period + PANEL;
  for (long first = 0; first < n; first += PANEL) {
    long live = n - first < PANEL ? n - first : PANEL;
    transpose(across, PANEL, hidden + first * width, width, live, width);
    memset(sums, 0, sizeof sums);
    for (long d = 0; d < pixels; d += BLOCK) {
      long rows = d + BLOCK < pixels ? BLOCK : pixels - d;
      const real *own = x ? x + d * ldx + first % period : 0;
      product(y, PANEL, 0, 0, weight + d * width, width, 1, across, PANEL, rows, width, PANEL);
      if (x)
        add_pixels(y, bias + d, own, ldx, rows, sums[0], sums[1]);
      else
        add_pixels(y, bias + d, 0, 0, rows, sums[0], sums[1]);
    }
    memcpy(partition + first, sums[0], live * sizeof(real));
    if (x) memcpy(error + first, sums[1], live * sizeof(real));
  }
}

/* A layer of a panel: [in, PANEL] -> [out, PANEL]. */
static void affine(real *y, const real *weight, const real *bias, const real *x, long in, long out) {
  product(y, PANEL, 0, 0, weight, in, 1, x, PANEL, out, in, PANEL);
  for (long j = 0; j < out; j++)
    for (long i = 0; i < PANEL; i += W) VEC(y + j * PANEL + i) += bias[j];
}

/* Σ (z - mean)² e^-logvar + logvar over the units of a level, logvar 0 where there is none. */
static void add_squares(real *sums, const real *z, const real *mean, const real *logvar, long L) {
  for (long k = 0; k < L * PANEL; k += W) {
    vec off = VEC(z + k) - VEC(mean + k), square = off * off;
    if (logvar) square = square * exponential(-VEC(logvar + k)) + VEC(logvar + k);
    VEC(sums + k % PANEL) += square;
  }
}

/* Of z [N, T, L], -2 log p(z_t | z_{t+1}) and -2 log q(z_{t+1} | z_t) without their constants, for
all but the top level: [N, T - 1] each. With `is_noise` the levels above the first hold noise, and
then what the encoders draw with it. weights: of each level above the first those of its encoder
(layer, mu, logvar) and of its decoder (both layers), each with its bias. work: [2 H + (T + 2) L,
PANEL]. */
void level_sums(real *z, int64_t n, int64_t T, int64_t L, int64_t H, const real *const *weights,
                int64_t is_noise, real *work, real *down, real *up) {
  real *columns = work, *h = columns + T * L * PANEL, *mu = h + H * PANEL;
  real *logvar = mu + L * PANEL;
  for (long first = 0; first < n; first += PANEL) {
    long live = n - first < PANEL ? n - first : PANEL;
    transpose(columns, PANEL, z + first * T * L, T * L, live, T * L);
    for (long t = 1; t < T; t++) {
      const real *const *w = weights + 10 * (t - 1);
      real sums[2][PANEL] = {0}, *below = columns + (t - 1) * L * PANEL, *own = below + L * PANEL;
      affine(h, w[0], w[1], below, L, H), relu(h, H * PANEL);
      affine(mu, w[2], w[3], h, H, L), affine(logvar, w[4], w[5], h, H, L);
      for (long k = 0; is_noise && k < L * PANEL; k += W)
        VEC(own + k) = VEC(mu + k) + VEC(own + k) * exponential((real)0.5 * VEC(logvar + k));
      add_squares(sums[0], own, mu, logvar, L);
      affine(h, w[6], w[7], own, L, H), relu(h, H * PANEL);
      affine(mu, w[8], w[9], h, H, L);
      add_squares(sums[1], below, mu, 0, L);
      for (long i = 0; i < live; i++) {
        up[(first + i) * (T - 1) + t - 1] = sums[0][i];
        down[(first + i) * (T - 1) + t - 1] = sums[1][i];
      }
    }
    if (is_noise) transpose(z + first * T * L, T * L, columns, PANEL, T * L, live);
  }
}
