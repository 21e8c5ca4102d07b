# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .mpi_inf_3dhp import convert_test_set as convert_mpi_inf_3dhp_test_set

__all__ = ['convert_mpi_inf_3dhp_test_set']
