#include "isa.h"

#include "surfloss_cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace surfloss {
namespace {

#if defined(__x86_64__)

uint64_t enabled_registers() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

int32_t detect() {
  constexpr uint32_t kOsXsave = 1u << 27, kAvx = 1u << 28, kFma = 1u << 12;  // leaf 1, ecx
  constexpr uint32_t kAvx2 = 1u << 5,
                     kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // leaf 7, ebx: F DQ BW VL
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xE6;                 // registers saved by the system
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return SURFLOSS_BASELINE;
  constexpr uint32_t needed = kOsXsave | kAvx | kFma;
  if ((ecx & needed) != needed) return SURFLOSS_BASELINE;
  const uint64_t registers = enabled_registers();
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return SURFLOSS_BASELINE;
  if ((registers & kAvx512State) == kAvx512State && (ebx & kAvx512) == kAvx512) return SURFLOSS_AVX512;
  if ((registers & kAvxState) == kAvxState && (ebx & kAvx2)) return SURFLOSS_AVX2;
  return SURFLOSS_BASELINE;
}

#else

int32_t detect() { return SURFLOSS_BASELINE; }

#endif

}  // namespace

int32_t best_isa() {
  static const int32_t best = detect();
  return best;
}

const Kernels* find_kernels(int32_t isa) {
  if (isa == SURFLOSS_BEST) isa = best_isa();
  if (isa < SURFLOSS_BASELINE || isa > best_isa()) return nullptr;
#if defined(__x86_64__)
  if (isa == SURFLOSS_AVX512) return &avx512::kernels;
  if (isa == SURFLOSS_AVX2) return &avx2::kernels;
#endif
  return &baseline::kernels;
}

}  // namespace surfloss
