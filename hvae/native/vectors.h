/* Vectors of the processor's own width, products of matrices of any size made of them, and functions
of all their numbers at once. Plain C with the vector extensions of GCC and Clang; float, or with
-DDOUBLE double, for tests. */

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
/* SLACK: numbers behind an array that whole vectors may reach. */
enum { W = VECTOR_BYTES / sizeof(real), MOST_VECTORS = 3, SLACK = MOST_VECTORS * W };
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define VEC(address) (*(vec *)(address))
/* Keeps a vector in a register: GCC would load it again for each of its uses. */
#if defined(__x86_64__)
#define HOLD(vector) __asm__("" : "+v"(vector))
#elif defined(__aarch64__)
#define HOLD(vector) __asm__("" : "+w"(vector))
#else
#define HOLD(vector)
#endif

INLINE long padded(long n) { return (n + W - 1) / W * W; }
INLINE vec all(real x) { return x + (vec){0}; }
INLINE vec choose(ivec where, vec a, vec b) { return (vec)((where & (ivec)a) | (~where & (ivec)b)); }

INLINE vec magnitude(vec x) {
  const integer sign = (integer)1 << (8 * sizeof(real) - 1);
  return (vec)((ivec)x & ~sign);
}

/* Matrix products. */

INLINE void tile(int rows, int vectors, real *c, long ldc, const real *start, long lds,
                 const real *a, long row, long column, const real *b, long ldb, long inner) {
  vec sum[8][MOST_VECTORS];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) sum[r][v] = VEC(start + r * lds + v * W);
  for (long k = 0; k < inner; k++) {
    vec factor[MOST_VECTORS];
    for (int v = 0; v < vectors; v++) {
      vec loaded = VEC(b + k * ldb + v * W);
      HOLD(loaded);
      factor[v] = loaded;
    }
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
#if defined(__AVX512F__) || defined(__aarch64__) /* registers for 24 sums */
  ROWS(8);
#endif
  ROWS(4);
  ROWS(1);
#undef ROWS
}

static const real ZEROS[SLACK];

/* c[m, n] = start[m, n] + Σ_k a[m, k] b[k, n], start 0 where there is none, a at
a[m * row + k * column]. It writes whole vectors, from the last columns to the first: where rows are
not padded, what spills over the end of one is then overwritten by the next. */
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

/* e^x for x from -87 to 88, within two units of the last place: 2^n e^r with |r| <= ln(2)/2 (Cody and
Waite 1980), e^r - 1 - r as r² times the polynomial of degree 4 with the least greatest error. */
INLINE vec exponential_within(vec x) {
#ifdef DOUBLE
  vec e;
  for (int i = 0; i < W; i++) e[i] = exp(x[i]);
  return e;
#else
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  vec shifted = x * 1.44269504f + magic, n = shifted - magic;
  vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vec e = r * 1.3814830e-3f + 8.3687173e-3f;
  e = e * r + 4.1668384e-2f;
  e = e * r + 1.6666521e-1f;
  e = e * r + 0.49999993f;
  e = (e * r + 1) * r + 1;
  return (vec)((ivec)e + ((ivec)shifted << 23)); /* the lowest bits of `shifted` are n */
#endif
}

/* e^x of any x: beyond -87 and 88, where float would under- or overflow, that of the bound. */
INLINE vec exponential(vec x) {
  vec low = all(-87), high = all(88);
  x = choose(x < low, low, x);
  return exponential_within(choose(x > high, high, x));
}

/* e^-x of x >= 0. */
INLINE vec decay(vec x) {
  vec most = all(87);
  return exponential_within(-choose(x > most, most, x)); /* NaN stays */
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
  vec least = all(1e-37f); /* the estimate at 0 is infinite */
  vec r = (vec)_mm512_rsqrt14_ps((__m512)choose(x < least, least, x));
  return x * r * (1.5f - 0.5f * x * r * r);
#else
  for (int i = 0; i < W; i++) x[i] = SQRT(x[i]);
  return x;
#endif
}
