// Which instruction sets this processor and its system run.
#pragma once

#include <stdint.h>

#include "job.h"

namespace surfloss {

int32_t best_isa();

// The kernels for an instruction set, null where it does not run here.
const Kernels* find_kernels(int32_t isa);

}  // namespace surfloss
