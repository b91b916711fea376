// Vectors of the instruction set that this file is compiled for. Arithmetic uses the compiler's vector types.
// Intrinsics are used where these would need fast-math (min, max) or have no equivalent (bits, reductions).
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define SURFLOSS_ISA avx512
#elif defined(__AVX2__)
#define SURFLOSS_ISA avx2
#else
#define SURFLOSS_ISA baseline
#endif

// Every instruction set has its own namespace, and kernels use no inline functions of the standard library.
// Otherwise a linker could merge a function compiled for AVX-512 with the version that runs on any machine.
namespace surfloss {
namespace SURFLOSS_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kGroup = 8;  // distance between coarse rows: the sums of a group fill the vector registers
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kGroup = 4;
#elif defined(__aarch64__)
constexpr int kLanes = 4;
constexpr int kGroup = 8;
#else
constexpr int kLanes = 4;
constexpr int kGroup = 4;
#endif
constexpr int kBlock = 2 * kLanes;  // columns of floats that are solved together

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef double Doubles __attribute__((vector_size(4 * kLanes)));
typedef int64_t Longs __attribute__((vector_size(4 * kLanes)));
typedef float HalfFloats __attribute__((vector_size(2 * kLanes)));  // as many lanes as Doubles
typedef int32_t HalfInts __attribute__((vector_size(2 * kLanes)));
// Integers that saturate at kMost. SSE2 has a minimum of signed shorts only.
#if defined(__SSE2__) && !defined(__AVX2__)
typedef int16_t Short;
constexpr Short kMost = INT16_MAX;
#else
typedef uint16_t Short;
constexpr Short kMost = UINT16_MAX;
#endif
typedef Short Shorts __attribute__((vector_size(4 * kLanes)));
typedef Short HalfShorts __attribute__((vector_size(2 * kLanes)));  // as many lanes as Floats
typedef int16_t ShortInts __attribute__((vector_size(4 * kLanes)));
typedef int16_t HalfShortInts __attribute__((vector_size(2 * kLanes)));

// The vector of T, the integer of the same width (also used for masks), and the number of lanes.
template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Entry = float;  // entry of a distance table
  using Values = Floats;
  using Whole = int32_t;
  static constexpr int kCount = kLanes;
};
template <>
struct VectorOf<double> {
  using Entry = double;
  using Values = Doubles;
  using Whole = int64_t;
  static constexpr int kCount = kLanes / 2;
};
template <>
struct VectorOf<Short> {
  using Entry = int32_t;  // the same short twice: 32-bit entries are broadcast faster
  using Values = Shorts;
  using Whole = Short;
  static constexpr int kCount = 2 * kLanes;
};

template <class Vector, class T>
inline Vector load_as(const T* from) {
  Vector v;
  memcpy(&v, from, sizeof v);
  return v;
}
inline Floats load(const float* from) { return load_as<Floats>(from); }
inline Ints load(const int32_t* from) { return load_as<Ints>(from); }
inline Doubles load(const double* from) { return load_as<Doubles>(from); }
inline Longs load(const int64_t* from) { return load_as<Longs>(from); }
inline Shorts load(const Short* from) { return load_as<Shorts>(from); }
inline void store(float* to, Floats v) { memcpy(to, &v, sizeof v); }
inline void store(int32_t* to, Ints v) { memcpy(to, &v, sizeof v); }
inline void store(double* to, Doubles v) { memcpy(to, &v, sizeof v); }
inline void store(int64_t* to, Longs v) { memcpy(to, &v, sizeof v); }
inline void store(Short* to, Shorts v) { memcpy(to, &v, sizeof v); }
inline Floats all(float value) { return value - Floats{}; }  // not +, which changes -0 to 0
inline Ints all(int32_t value) { return Ints{} + value; }
inline Doubles all(double value) { return value - Doubles{}; }
inline Longs all(int64_t value) { return Longs{} + value; }
inline Shorts all(Short value) { return Shorts{} + value; }
inline Floats every(float entry) { return all(entry); }
inline Doubles every(double entry) { return all(entry); }
inline Shorts every(int32_t entry) { return (Shorts)all(entry); }

inline Doubles min(Doubles a, Doubles b) {
#if defined(__AVX512F__)
  return (Doubles)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
  return (Doubles)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(__SSE2__)
  return (Doubles)_mm_min_pd((__m128d)a, (__m128d)b);
#elif defined(__aarch64__)
  return (Doubles)vminq_f64((float64x2_t)a, (float64x2_t)b);
#else
  return a < b ? a : b;
#endif
}
inline Doubles max(Doubles a, Doubles b) { return -min(-a, -b); }
inline Floats min(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Floats)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (Floats)_mm_min_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
  return (Floats)vminq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return a < b ? a : b;
#endif
}
inline Floats max(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (Floats)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
  return (Floats)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return a > b ? a : b;
#endif
}

inline Shorts min(Shorts a, Shorts b) { return a < b ? a : b; }
inline Shorts max(Shorts a, Shorts b) { return a > b ? a : b; }

// Sums. Those of shorts saturate at kMost.
inline Floats plus(Floats a, Floats b) { return a + b; }
inline Doubles plus(Doubles a, Doubles b) { return a + b; }
inline Shorts plus(Shorts a, Shorts b) {
#if defined(__AVX512BW__)
  return (Shorts)_mm512_adds_epu16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Shorts)_mm256_adds_epu16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (Shorts)_mm_adds_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  return (Shorts)vqaddq_u16((uint16x8_t)a, (uint16x8_t)b);
#else
  const Shorts sum = a + b;
  return sum < a ? Shorts{} + kMost : sum;
#endif
}

constexpr int32_t kSign = INT32_MIN;
inline Floats flip(Floats v, Ints sign) { return (Floats)((Ints)v ^ sign); }
inline Floats magnitude(Floats v) { return (Floats)((Ints)v & ~kSign); }

// Lane i comes from `set` if bit i of `lanes` is 1, else from `clear`.
inline Floats select(uint32_t lanes, Floats set, Floats clear) {
#if defined(__AVX512F__)
  return (Floats)_mm512_mask_blend_ps((__mmask16)lanes, (__m512)clear, (__m512)set);
#else
  Ints bit;
  for (int i = 0; i < kLanes; ++i) bit[i] = 1 << i;
  return ((all((int32_t)lanes) & bit) != 0) ? set : clear;
#endif
}

inline Floats root(Floats v) {
#if defined(__AVX512F__)
  return (Floats)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
  return (Floats)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
  return (Floats)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
  return (Floats)vsqrtq_f32((float32x4_t)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

inline Doubles root(Doubles v) {
#if defined(__AVX512F__)
  return (Doubles)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
  return (Doubles)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
  return (Doubles)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
  return (Doubles)vsqrtq_f64((float64x2_t)v);
#else
  for (int i = 0; i < kLanes / 2; ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
#endif
}

inline float largest(Floats v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#elif defined(__AVX2__)
  __m128 x = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
#elif defined(__aarch64__)
  return vmaxvq_f32((float32x4_t)v);
#else
  float most = v[0];
  for (int i = 1; i < kLanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
#endif
}
inline int32_t largest(Ints v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epi32((__m512i)v);
#elif defined(__AVX2__)
  __m128i x = _mm_max_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  x = _mm_max_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(x, _mm_shuffle_epi32(x, 0xB1)));
#elif defined(__aarch64__)
  return vmaxvq_s32((int32x4_t)v);
#else
  int32_t most = v[0];
  for (int i = 1; i < kLanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
#endif
}
inline double largest(Doubles v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_pd((__m512d)v);
#else
  double most = v[0];
  for (int i = 1; i < kLanes / 2; ++i) most = v[i] > most ? v[i] : most;
  return most;
#endif
}
inline int64_t largest(Longs v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epi64((__m512i)v);
#else
  int64_t most = v[0];
  for (int i = 1; i < kLanes / 2; ++i) most = v[i] > most ? v[i] : most;
  return most;
#endif
}
inline Short largest(Shorts v) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m256i half =
      _mm256_max_epu16(_mm512_castsi512_si256((__m512i)v), _mm512_extracti64x4_epi64((__m512i)v, 1));
#else
  const __m256i half = (__m256i)v;
#endif
  const __m128i x = _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return (Short)~_mm_extract_epi16(_mm_minpos_epu16(~x), 0);
#elif defined(__SSE2__)
  __m128i x = _mm_max_epi16((__m128i)v, _mm_shuffle_epi32((__m128i)v, 0x4E));
  x = _mm_max_epi16(x, _mm_shuffle_epi32(x, 0xB1));
  return (Short)_mm_extract_epi16(_mm_max_epi16(x, _mm_srli_epi32(x, 16)), 0);
#elif defined(__aarch64__)
  return vmaxvq_u16((uint16x8_t)v);
#else
  Short most = v[0];
  for (int i = 1; i < 2 * kLanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
#endif
}
inline int32_t smallest(Ints v) { return ~largest(~v); }
inline Short smallest(Shorts v) { return (Short)(kMost - largest(kMost - v)); }
inline int64_t smallest(Longs v) { return ~largest(~v); }

// Loads a vector of T, converting from floats, doubles or integers.
template <class T>
inline typename VectorOf<T>::Values convert(const float* from) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return load(from);
  } else {
    return __builtin_convertvector(load_as<HalfFloats>(from), Doubles);
  }
}
template <class T>
inline typename VectorOf<T>::Values convert(const double* from) {
  static_assert(sizeof(T) == sizeof(double));
  return load(from);
}
template <class T>
inline typename VectorOf<T>::Values convert(const int32_t* from) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return __builtin_convertvector(load(from), Floats);
  } else {
    return __builtin_convertvector(load_as<HalfInts>(from), Doubles);
  }
}

// Converts two vectors of floats to one of shorts, clamped to [0, kMost].
inline Shorts narrow(Floats low, Floats high) {
  const Floats most = all((float)kMost);
  const Ints a = __builtin_convertvector(min(max(low, all(0.0f)), most), Ints);
  const Ints b = __builtin_convertvector(min(max(high, all(0.0f)), most), Ints);
#if defined(__AVX512BW__)
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  return (Shorts)_mm512_permutexvar_epi64(order, _mm512_packus_epi32((__m512i)a, (__m512i)b));
#elif defined(__AVX2__)
  return (Shorts)_mm256_permute4x64_epi64(_mm256_packus_epi32((__m256i)a, (__m256i)b), 0xD8);
#elif defined(__SSE2__)
  return (Shorts)_mm_packs_epi32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  return (Shorts)vcombine_u16(vqmovun_s32((int32x4_t)a), vqmovun_s32((int32x4_t)b));
#else
  const HalfShorts halves[2] = {__builtin_convertvector(a, HalfShorts),
                                __builtin_convertvector(b, HalfShorts)};
  return load_as<Shorts>(halves);
#endif
}
// Converts half of a vector of shorts to floats, or half of its mask to a mask of floats.
inline Floats widen(Shorts v, int half) {
  const HalfShorts part = load_as<HalfShorts>((const HalfShorts*)&v + half);
  return __builtin_convertvector(__builtin_convertvector(part, Ints), Floats);
}
inline Floats widen(Floats v, int) { return v; }
inline Ints widen_mask(ShortInts v, int half) {
  return __builtin_convertvector(load_as<HalfShortInts>((const HalfShortInts*)&v + half), Ints);
}

// from[index], lane by lane.
inline Ints lookup(const int32_t* from, Ints index) {
#if defined(__AVX512F__)
  return (Ints)_mm512_i32gather_epi32((__m512i)index, from, 4);
#elif defined(__AVX2__)
  return (Ints)_mm256_i32gather_epi32(from, (__m256i)index, 4);
#else
  Ints v;
  for (int i = 0; i < kLanes; ++i) v[i] = from[index[i]];
  return v;
#endif
}

// The labels of 64 voxels as bits, the first one lowest: nonzero, or above a threshold.
struct NotZero {};
struct Above {
  float threshold;  // NaN is not above it
};
inline uint64_t bits(const uint8_t* from, NotZero) {
#if defined(__AVX512BW__)
  const __m512i v = _mm512_loadu_si512(from);
  return _mm512_test_epi8_mask(v, v);
#elif defined(__AVX2__)
  uint64_t word = 0;
  for (int i = 0; i < 2; ++i) {
    const __m256i v = _mm256_loadu_si256((const __m256i*)from + i);
    const __m256i zero = _mm256_cmpeq_epi8(v, _mm256_setzero_si256());
    word |= (uint64_t)~(uint32_t)_mm256_movemask_epi8(zero) << (32 * i);
  }
  return word;
#elif defined(__SSE2__)
  uint64_t word = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128i v = _mm_loadu_si128((const __m128i*)from + i);
    const int zero = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128()));
    word |= (uint64_t)(uint16_t)~zero << (16 * i);
  }
  return word;
#else
  uint64_t word = 0;
  for (int i = 0; i < 8; ++i) {
    uint64_t v;
    memcpy(&v, from + 8 * i, 8);
    v |= v >> 4;  // bit 0 of each byte becomes the OR of its bits
    v |= v >> 2;
    v |= v >> 1;
    word |= ((v & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * i);
  }
  return word;
#endif
}
#if defined(__AVX512F__)
inline uint64_t lanes(Floats v, NotZero) {
  return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
inline uint64_t lanes(Floats v, Above above) {
  return _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(above.threshold), _CMP_GT_OQ);
}
#elif defined(__AVX2__)
inline uint64_t lanes(Floats v, NotZero) {
  return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
inline uint64_t lanes(Floats v, Above above) {
  return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_set1_ps(above.threshold), _CMP_GT_OQ));
}
#elif defined(__SSE2__)
inline uint64_t lanes(Floats v, NotZero) {
  return (uint32_t)_mm_movemask_ps(_mm_cmpneq_ps((__m128)v, _mm_setzero_ps()));
}
inline uint64_t lanes(Floats v, Above above) {
  return (uint32_t)_mm_movemask_ps(_mm_cmpgt_ps((__m128)v, _mm_set1_ps(above.threshold)));
}
#else
inline uint64_t lanes(Floats v, NotZero) {
  uint64_t word = 0;
  for (int i = 0; i < kLanes; ++i) word |= (uint64_t)(v[i] != 0) << i;
  return word;
}
inline uint64_t lanes(Floats v, Above above) {
  uint64_t word = 0;
  for (int i = 0; i < kLanes; ++i) word |= (uint64_t)(v[i] > above.threshold) << i;
  return word;
}
#endif
template <class Foreground>
inline uint64_t bits(const float* from, Foreground foreground) {
  uint64_t word = 0;
  for (int i = 0; i < 64; i += kLanes) word |= lanes(load(from + i), foreground) << i;
  return word;
}
inline uint64_t bits(const double* from, Above above) {
  uint64_t word = 0;
  for (int i = 0; i < 64; ++i) word |= (uint64_t)(from[i] > (double)above.threshold) << i;
  return word;
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
