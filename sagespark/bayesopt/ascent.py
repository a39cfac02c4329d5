"""Maximise a smooth function over a box from several starts at once.

One call of the function serves all starts: with arrays this small, calls cost more than arithmetic. The method is BFGS
on the variables that are free, with steps projected onto the box (Nocedal and Wright, Numerical Optimization, 2006,
eq. 6.17 for the update, section 16.7 for projected gradients), and Armijo's condition (their eq. 3.4) for a step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sagespark.bayesopt.scaling import Floats

FIRST_STEP = 0.05
"""Length of the first step, in units of the cube: gradients say nothing of scale."""
ARMIJO = 1e-4
TOLERANCE = 1e-5
"""A start rests once its accepted step is shorter than this, or its step was cut to less."""


def ascend(
    function: Callable[[Floats], tuple[Floats, Floats]], starts: Floats, free: Floats, steps: int
) -> tuple[Floats, Floats]:
    """Return the points reached, and the function there.

    Parameters
    ----------
    function : callable
        Takes (S, d) points, returns values (S,) and gradients (S, d).
    starts : ndarray, shape (S, d)
        Points of the unit cube.
    free : ndarray of bool, shape (d,)
        Dimensions that may move.
    steps : int
        Calls of the function, at most.
    """
    x = starts.copy()
    S, d = x.shape
    eye = np.eye(d)
    f, g = function(x)
    g = g * free
    H = np.repeat(eye[None] * 0.0, S, axis=0) + eye
    fresh = np.ones(S, dtype=bool)
    length = np.ones(S)
    resting = np.zeros(S, dtype=bool)
    for _ in range(steps - 1):
        # A variable at a bound with the gradient pointing outward is not moved.
        held = ((x <= 0.0) & (g < 0.0)) | ((x >= 1.0) & (g > 0.0))
        inner = np.where(held, 0.0, g)
        p = (H @ inner[:, :, None])[:, :, 0]
        p = np.where(held, 0.0, p)
        uphill = np.sum(p * inner, axis=1) > 0.0
        p = np.where(uphill[:, None], p, inner)
        norm = np.sqrt(np.sum(p * p, axis=1))
        first = fresh | ~uphill
        p = np.where(first[:, None], p * (FIRST_STEP / np.maximum(norm, 1e-300))[:, None], p)
        resting |= norm == 0.0
        y = np.clip(x + np.where(resting, 0.0, length)[:, None] * p, 0.0, 1.0)
        f_new, g_new = function(y)
        g_new = g_new * free
        s = y - x
        good = (f_new >= f + ARMIJO * np.sum(inner * s, axis=1)) & ~resting
        moved = np.sqrt(np.sum(s * s, axis=1))
        # Update the inverse Hessian of -f where the curvature along the step is positive.
        t = np.where(held, 0.0, g - g_new)
        curvature = np.sum(s * t, axis=1)
        update = good & (curvature > 1e-12 * moved * np.sqrt(np.sum(t * t, axis=1)) + 1e-300)
        rho = 1.0 / np.where(update, curvature, 1.0)
        scale = np.where(fresh & update, curvature / np.maximum(np.sum(t * t, axis=1), 1e-300), 1.0)
        H = np.where((fresh & update)[:, None, None], eye * scale[:, None, None], H)
        left = eye - (rho[:, None] * s)[:, :, None] * t[:, None, :]
        H_new = left @ H @ left.transpose(0, 2, 1) + (rho[:, None] * s)[:, :, None] * s[:, None, :]
        H = np.where(update[:, None, None], H_new, H)
        fresh &= ~update
        x, f, g = np.where(good[:, None], y, x), np.where(good, f_new, f), np.where(good[:, None], g_new, g)
        resting |= good & (moved < TOLERANCE)
        length = np.where(good, 1.0, 0.25 * length)
        resting |= length < 1e-5
        if resting.all():
            break
    return x, f
