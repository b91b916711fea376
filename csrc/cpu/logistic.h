// The logistic function p = 1 / (1 + e^-x) and its slope p (1 - p), for vectors.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

// e^-x for x >= 0, within 2 units in the last place. Clamped at x = 87, near the smallest normal float32.
inline Floats exp_of_minus(Floats x) {
  // e^-x = 2^n e^r with integer n and |r| <= ln(2) / 2. ln(2) is split in two parts to keep n ln(2) precise.
  constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f, kRounder = 12582912.0f;  // 1.5 * 2^23
  x = min(x, all(87.0f));
  const Floats n = (x * -1.44269504f + kRounder) - kRounder;
  const Floats r = (-x - n * kHigh) - n * kLow;
  // The Taylor series to the seventh power: the next term is below 6e-9.
  Floats e = all(1.0f / 5040);
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  return e * (Floats)((__builtin_convertvector(n, Ints) + 127) << 23);
}
inline Doubles exp_of_minus(Doubles x) {
  for (int i = 0; i < kLanes / 2; ++i) x[i] = exp(-x[i]);
  return x;
}

template <class Values>
inline void logistic(Values x, Values& p, Values& slope) {
  const Values e = exp_of_minus(x < 0 ? -x : x), whole = 1 / (1 + e);
  p = x < 0 ? e * whole : whole;
  slope = e * whole * whole;
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
