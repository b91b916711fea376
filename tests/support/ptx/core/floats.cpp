// Floats, and conversions between all types.
//
// Results follow the PTX manual. Exceptions are `ex2`, `lg2` and approximate roots and quotients, which are
// more precise here than on a GPU.
#include <cmath>
#include <limits>

#include "elementwise.h"

namespace ptx {
namespace {

// 16-bit floats are stored as in memory, and computed as float32.
struct Half {
  u16 bits;
};
struct BFloat {
  u16 bits;
};

float to_float(BFloat value) { return bits<float>(u32{value.bits} << 16); }

float to_float(Half value) {
  const u32 sign = (value.bits & 0x8000u) << 16, exponent = value.bits >> 10 & 31,
            fraction = value.bits & 0x3ff;
  if (exponent == 31) return bits<float>(sign | 0x7f800000u | fraction << 13);
  const float size =
      exponent ? std::ldexp(float(fraction | 0x400), int(exponent) - 25) : std::ldexp(float(fraction), -24);
  return bits<float>(sign | bits<u32>(size));
}

BFloat to_bfloat(float value) {
  const u32 word = bits<u32>(value);
  if (value != value) return {0x7fff};
  return {u16((word + 0x7fff + (word >> 16 & 1)) >> 16)};
}

// Rounds to nearest even, as `lrint` does.
Half to_half(float value) {
  const u16 sign = bits<u32>(value) >> 16 & 0x8000;
  const float size = std::fabs(value);
  if (value != value) return {0x7fff};
  if (size >= 65520) return {u16(sign | 0x7c00)};
  const int exponent = size < 0x1p-14f ? -14 : std::ilogb(size);
  const long units = std::lrint(std::ldexp(size, 10 - exponent));  // units in the last place
  return {u16(sign | ((exponent + 14) * 0x400 + units))};
}

constexpr float kQuiet = std::numeric_limits<float>::quiet_NaN();

// A NaN loses to any number, and -0 is less than +0.
template <class T>
T least(T a, T b) {
  if (a != a || b != b) return a != a ? b : a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}

template <class T>
T greatest(T a, T b) {
  if (a != a || b != b) return a != a ? b : a;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}

template <class T>
bool unordered(T a, T b) {
  return a != a || b != b;
}

// Flushes subnormal numbers to zero.
float flushed(float a) { return std::fabs(a) < 0x1p-126f ? std::copysign(0.0f, a) : a; }

template <class T, class Stored, T (*value)(Stored)>
void add_float_comparisons(const std::string& type) {
  add("setp.eq" + type, [](Stored a, Stored b) { return value(a) == value(b); });
  add("setp.ne" + type, [](Stored a, Stored b) { return value(a) < value(b) || value(a) > value(b); });
  add("setp.lt" + type, [](Stored a, Stored b) { return value(a) < value(b); });
  add("setp.le" + type, [](Stored a, Stored b) { return value(a) <= value(b); });
  add("setp.gt" + type, [](Stored a, Stored b) { return value(a) > value(b); });
  add("setp.ge" + type, [](Stored a, Stored b) { return value(a) >= value(b); });
  add("setp.equ" + type, [](Stored a, Stored b) { return !(value(a) < value(b) || value(a) > value(b)); });
  add("setp.neu" + type, [](Stored a, Stored b) { return !(value(a) == value(b)); });
  add("setp.ltu" + type, [](Stored a, Stored b) { return !(value(a) >= value(b)); });
  add("setp.leu" + type, [](Stored a, Stored b) { return !(value(a) > value(b)); });
  add("setp.gtu" + type, [](Stored a, Stored b) { return !(value(a) <= value(b)); });
  add("setp.geu" + type, [](Stored a, Stored b) { return !(value(a) < value(b)); });
  add("setp.num" + type, [](Stored a, Stored b) { return !unordered(value(a), value(b)); });
  add("setp.nan" + type, [](Stored a, Stored b) { return unordered(value(a), value(b)); });
}

template <class T>
T itself(T value) {
  return value;
}

template <class T>
void add_floats(const std::string& type) {
  add_moves<T>(type);
  add_float_comparisons<T, T, itself<T>>(type);
  for (const char* rounding : {"", ".rn"}) {  // .rn is the default
    add("add" + (rounding + type), [](T a, T b) { return a + b; });
    add("sub" + (rounding + type), [](T a, T b) { return a - b; });
    add("mul" + (rounding + type), [](T a, T b) { return a * b; });
  }
  add("fma.rn" + type, [](T a, T b, T c) { return std::fma(a, b, c); });
  add("div.rn" + type, [](T a, T b) { return a / b; });
  add("rcp.rn" + type, [](T a) { return 1 / a; });
  add("sqrt.rn" + type, [](T a) { return std::sqrt(a); });
  add("min" + type, [](T a, T b) { return least(a, b); });
  add("max" + type, [](T a, T b) { return greatest(a, b); });
  add("neg" + type, [](T a) { return -a; });
  add("abs" + type, [](T a) { return std::fabs(a); });
  add("copysign" + type, [](T sign, T a) { return std::copysign(a, sign); });
}

// Fused multiply-add, rounded down: computed to nearest via double, then corrected.
float fused_down(float a, float b, float c) {
  const double product = double(a) * b, sum = product + c;
  // The exact error of the sum. If it is negative, the true value is below the sum.
  const double back = sum - product, rest = (product - (sum - back)) + (c - back);
  const float nearest = static_cast<float>(sum);
  const bool above = nearest > sum || (nearest == sum && rest < 0);
  return above ? std::nextafterf(nearest, -INFINITY) : nearest;
}

// Approximations of doubles have only the upper 32 bits.
double upper(double value) { return bits<double>(bits<u64>(value) & 0xffffffff00000000u); }

u64 two(float low, float high) { return u64{bits<u32>(high)} << 32 | bits<u32>(low); }
float low(u64 pair) { return bits<float>(u32(pair)); }
float high(u64 pair) { return bits<float>(u32(pair >> 32)); }

void add_single() {
  add_float_comparisons<float, Half, to_float>(".f16");
  add_float_comparisons<float, BFloat, to_float>(".bf16");
  add("min.NaN.f32", [](float a, float b) { return unordered(a, b) ? kQuiet : least(a, b); });
  add("max.NaN.f32", [](float a, float b) { return unordered(a, b) ? kQuiet : greatest(a, b); });
  add("min.f32", [](float a, float b, float c) { return least(least(a, b), c); });
  add("max.f32", [](float a, float b, float c) { return greatest(greatest(a, b), c); });
  add("min.NaN.f32",
      [](float a, float b, float c) { return unordered(a, b) || c != c ? kQuiet : least(least(a, b), c); });
  add("max.NaN.f32", [](float a, float b, float c) {
    return unordered(a, b) || c != c ? kQuiet : greatest(greatest(a, b), c);
  });
  add("fma.rm.f32", [](float a, float b, float c) { return fused_down(a, b, c); });
  add("mul.ftz.f32", [](float a, float b) { return flushed(flushed(a) * flushed(b)); });
  add("abs.ftz.f32", [](float a) { return flushed(std::fabs(a)); });
  add("div.full.f32", [](float a, float b) { return a / b; });
  add("div.approx.f32", [](float a, float b) { return a / b; });
  add("rcp.approx.f32", [](float a) { return 1 / a; });
  add("rcp.approx.ftz.f32", [](float a) { return flushed(1 / flushed(a)); });
  add("rsqrt.approx.f32", [](float a) { return 1 / std::sqrt(a); });
  add("sqrt.approx.f32", [](float a) { return std::sqrt(a); });
  add("sqrt.approx.ftz.f32", [](float a) { return flushed(std::sqrt(flushed(a))); });
  add("ex2.approx.f32", [](float a) { return std::exp2(a); });
  add("ex2.approx.ftz.f32", [](float a) { return flushed(std::exp2(flushed(a))); });
  add("lg2.approx.f32", [](float a) { return std::log2(a); });
  add("lg2.approx.ftz.f32", [](float a) { return flushed(std::log2(flushed(a))); });
  add("rcp.approx.ftz.f64", [](double a) { return upper(1 / a); });
  add("rsqrt.approx.ftz.f64", [](double a) { return upper(1 / std::sqrt(a)); });
  for (const char* rounding : {"", ".rn"}) {
    const std::string type = std::string(rounding) + ".f32x2";
    add("add" + type, [](u64 a, u64 b) { return two(low(a) + low(b), high(a) + high(b)); });
    add("sub" + type, [](u64 a, u64 b) { return two(low(a) - low(b), high(a) - high(b)); });
    add("mul" + type, [](u64 a, u64 b) { return two(low(a) * low(b), high(a) * high(b)); });
  }
  add("fma.rn.f32x2", [](u64 a, u64 b, u64 c) {
    return two(std::fma(low(a), low(b), low(c)), std::fma(high(a), high(b), high(c)));
  });
}

// Conversions.

// Clamps to the range of the integer. NaN becomes 0, or only the sign bit if a type has 64 bits.
template <class To, class From>
To whole(From value) {
  using Limits = std::numeric_limits<To>;
  if (value != value) return sizeof(From) == 8 || sizeof(To) == 8 ? To(u64{1} << (kBits<To> - 1)) : To{0};
  if (value <= static_cast<From>(Limits::min())) return Limits::min();
  if (value >= static_cast<From>(Limits::max())) return Limits::max();
  return static_cast<To>(value);
}

template <class To, class From>
void add_to_integer(const std::string& to, const std::string& from) {
  const std::string types = to + from;
  add("cvt.rzi" + types, [](From a) { return whole<To>(std::trunc(a)); });
  add("cvt.rni" + types, [](From a) { return whole<To>(std::nearbyint(a)); });
  add("cvt.rmi" + types, [](From a) { return whole<To>(std::floor(a)); });
  add("cvt.rpi" + types, [](From a) { return whole<To>(std::ceil(a)); });
}

template <class From>
void add_from_integer(const std::string& from) {
  add("cvt.u8" + from, [](From a) { return u8(a); });
  add("cvt.s8" + from, [](From a) { return i8(a); });
  add("cvt.u16" + from, [](From a) { return u16(a); });
  add("cvt.s16" + from, [](From a) { return i16(a); });
  add("cvt.u32" + from, [](From a) { return u32(a); });
  add("cvt.s32" + from, [](From a) { return i32(a); });
  add("cvt.u64" + from, [](From a) { return u64(a); });
  add("cvt.s64" + from, [](From a) { return i64(a); });
  add("cvt.rn.f32" + from, [](From a) { return float(a); });
  add("cvt.rn.f64" + from, [](From a) { return double(a); });
  if constexpr (sizeof(From) >= 2) {
    add_to_integer<From, float>(from, ".f32");
    add_to_integer<From, double>(from, ".f64");
  }
}

template <class T>
void add_rounding(const std::string& type) {
  add("cvt.rzi" + type + type, [](T a) { return std::trunc(a); });
  add("cvt.rni" + type + type, [](T a) { return std::nearbyint(a); });
  add("cvt.rmi" + type + type, [](T a) { return std::floor(a); });
  add("cvt.rpi" + type + type, [](T a) { return std::ceil(a); });
}

void add_conversions() {
  add_from_integer<u8>(".u8");
  add_from_integer<i8>(".s8");
  add_from_integer<u16>(".u16");
  add_from_integer<i16>(".s16");
  add_from_integer<u32>(".u32");
  add_from_integer<i32>(".s32");
  add_from_integer<u64>(".u64");
  add_from_integer<i64>(".s64");
  add_rounding<float>(".f32");
  add_rounding<double>(".f64");
  add("cvt.sat.f32.f32", [](float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; });
  add("cvt.f64.f32", [](float a) { return double(a); });
  add("cvt.rn.f32.f64", [](double a) { return float(a); });
  add("cvt.f32.f16", [](Half a) { return to_float(a); });
  add("cvt.f64.f16", [](Half a) { return double(to_float(a)); });
  add("cvt.f32.bf16", [](BFloat a) { return to_float(a); });
  add("cvt.rn.f16.f32", [](float a) { return to_half(a); });
  add("cvt.rn.bf16.f32", [](float a) { return to_bfloat(a); });
}

}  // namespace

void add_floats() {
  add_floats<float>(".f32");
  add_floats<double>(".f64");
  add_single();
  add_conversions();
}

}  // namespace ptx
