// The logistic function p = 1 / (1 + e^-x) and its slope p (1 - p), in a form that loops make vectors of.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

// e^-x for x >= 0, within 2 units in the last place; from x = 87 on the smallest that float32 holds in full.
inline float exp_of_minus(float x) {
  // e^-x = 2^n e^r with n whole and |r| <= ln(2) / 2; ln(2) in two parts, so that n ln(2) is exact enough.
  constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f, kRounder = 12582912.0f;  // 1.5 * 2^23
  x = x < 87.0f ? x : 87.0f;
  const float n = (x * -1.44269504f + kRounder) - kRounder;
  const float r = (-x - n * kHigh) - n * kLow;
  // The Taylor series to the seventh power: the next term is below 6e-9.
  float e = 1.0f / 5040;
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const int32_t power = ((int32_t)n + 127) << 23;
  float scale;
  memcpy(&scale, &power, sizeof scale);
  return e * scale;
}
inline double exp_of_minus(double x) { return exp(-x); }

template <class Value>
inline void logistic(Value x, Value& p, Value& slope) {
  const Value e = exp_of_minus(x < 0 ? -x : x), whole = 1 / (1 + e);
  p = x < 0 ? e * whole : whole;
  slope = e * whole * whole;
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
