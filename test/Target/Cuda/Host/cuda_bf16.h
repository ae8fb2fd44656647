// Stands in for the header of the CUDA toolkit when a kernel is compiled for the host.
#pragma once
#include "../HostCuda.h"
