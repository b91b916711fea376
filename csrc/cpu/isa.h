// Which instruction sets this processor and operating system support.
#pragma once

#include <stdint.h>

#include "job.h"

namespace surfloss {

int32_t best_isa();

// The kernels for an instruction set, or null if it is not supported here.
const Kernels* find_kernels(int32_t isa);

}  // namespace surfloss
