// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Colours of the empty scene, sRGB from 0 to 255.

export const BACKGROUND = [22, 27, 34];
export const GROUND = [31, 39, 50];
export const GROUND_LINE = [63, 77, 93];
