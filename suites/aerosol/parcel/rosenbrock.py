"""ROS34PW2 for the parcel: one step, with the linear systems solved in O(bins).

ROS34PW2 (Rang and Angermann 2005, doi:10.1007/s10543-005-0035-y) is a Rosenbrock method of order 3 with 4 stages,
L-stable, and a W-method: it keeps its order with any approximation of the Jacobian. Ours leaves out pressure,
temperature and vapour, which are not stiff. What is left couples each radius to itself and to the supersaturation only:
an arrowhead matrix, solved by eliminating the radii.

The stages are the transformed ones, u = Gamma k, so that no product of Jacobian and vector is needed
(Hairer and Wanner 1996, IV.7.25):

    (1 / (h gamma) - J) u_i = f(y + sum_j a_ij u_j) + sum_j c_ij / h u_j
"""

from __future__ import annotations

import numpy as np
from numba import njit

from parcel.equations import BULK, S, tendencies
from parcel.thermodynamics import FAST

STAGES = 4
GAMMA = 4.3586652150845900e-01
_ALPHA = np.array(
    [
        [0.0, 0.0, 0.0, 0.0],
        [8.7173304301691801e-01, 0.0, 0.0, 0.0],
        [8.4457060015369423e-01, -1.1299064236484185e-01, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ]
)
_GAMMAS = np.array(
    [
        [GAMMA, 0.0, 0.0, 0.0],
        [-8.7173304301691801e-01, GAMMA, 0.0, 0.0],
        [-9.0338057013044082e-01, 5.4180672388095326e-02, GAMMA, 0.0],
        [2.4212380706095346e-01, -1.2232505839045147e00, 5.4526025533510214e-01, GAMMA],
    ]
)
_WEIGHTS = np.array([2.4212380706095346e-01, -1.2232505839045147e00, 1.5452602553351020e00, GAMMA])
_EMBEDDED = np.array([3.7810903145819369e-01, -9.6042292212423178e-02, 0.5, 2.1793326075422950e-01])
_INVERSE = np.linalg.inv(_GAMMAS)

STATE_WEIGHTS = _ALPHA @ _INVERSE
"""a of the transformed method."""
STAGE_WEIGHTS = np.diag(1.0 / np.diag(_GAMMAS)) - _INVERSE
"""c of the transformed method."""
RESULT_WEIGHTS = _WEIGHTS @ _INVERSE
"""Of the stages in the result of order 3."""
ERROR_WEIGHTS = (_WEIGHTS - _EMBEDDED) @ _INVERSE
"""Of the stages in the difference to the embedded result of order 2."""


@njit(**FAST)
def factorise(
    state: np.ndarray,
    tendency: np.ndarray,
    number: np.ndarray,
    by_radius: np.ndarray,
    by_supersaturation: np.ndarray,
    coupling: float,
    shift: float,
    row: np.ndarray,
    pivot: np.ndarray,
) -> float:
    """Eliminate the radii from (shift - J).

    Parameters
    ----------
    coupling
        k of dS/dt = alpha w - k sum_i N_i r_i^2 dr_i/dt; its own change is left out.
    shift
        1 / (h gamma), s-1.
    row
        Written: the derivative of dS/dt by each radius, s-1 m-1.
    pivot
        Written: the inverse of the diagonal of each radius, s.

    Returns
    -------
    float
        What is left on the diagonal of S, s-1.
    """
    corner = shift
    for i in range(number.shape[0]):
        radius = state[BULK + i]
        weight = coupling * number[i] * radius
        derivative = -weight * (2.0 * tendency[BULK + i] + radius * by_radius[i])
        inverse = 1.0 / (shift - by_radius[i])
        row[i] = derivative
        pivot[i] = inverse
        corner += weight * radius * by_supersaturation[i] - derivative * inverse * by_supersaturation[i]
    return corner


@njit(**FAST)
def solve(
    right: np.ndarray,
    row: np.ndarray,
    pivot: np.ndarray,
    by_supersaturation: np.ndarray,
    corner: float,
    shift: float,
    result: np.ndarray,
) -> None:
    """Solve (shift - J) result = right with what `factorise` left."""
    bins = row.shape[0]
    total = right[S]
    for i in range(bins):
        total += row[i] * pivot[i] * right[BULK + i]
    supersaturation = total / corner
    for i in range(bins):
        result[BULK + i] = (right[BULK + i] + by_supersaturation[i] * supersaturation) * pivot[i]
    for i in range(S):
        result[i] = right[i] / shift
    result[S] = supersaturation


@njit(**FAST)
def stages(
    state: np.ndarray,
    tendency: np.ndarray,
    step: float,
    updraft: float,
    dry: np.ndarray,
    dry_cubed: np.ndarray,
    solute: np.ndarray,
    number: np.ndarray,
    corner: float,
    row: np.ndarray,
    pivot: np.ndarray,
    by_supersaturation: np.ndarray,
    work: np.ndarray,
    spare: np.ndarray,
    results: np.ndarray,
) -> None:
    """The four stages u of a step of `step` seconds from `state`, written to `results` [STAGES, BULK + bins].

    `work` [2, BULK + bins] and `spare` [2, bins] are overwritten.
    """
    size = state.shape[0]
    shift = 1.0 / (step * GAMMA)
    point, right = work[0], work[1]
    for stage in range(STAGES):
        if stage == 0:
            right[:] = tendency
        else:
            point[:] = state
            for j in range(stage):
                weight = STATE_WEIGHTS[stage, j]
                if weight != 0.0:
                    for i in range(size):
                        point[i] += weight * results[j, i]
            for i in range(number.shape[0]):
                # a stage may overshoot where the step will be refused anyway: stay outside of the dry particle
                point[BULK + i] = max(point[BULK + i], 0.5 * (state[BULK + i] + dry[i]))
            tendencies(point, updraft, dry_cubed, solute, number, right, spare[0], spare[1])
            for j in range(stage):
                weight = STAGE_WEIGHTS[stage, j] / step
                for i in range(size):
                    right[i] += weight * results[j, i]
        solve(right, row, pivot, by_supersaturation, corner, shift, results[stage])


@njit(**FAST)
def advance(state: np.ndarray, results: np.ndarray, dry: np.ndarray, rtol: float, after: np.ndarray) -> float:
    """The state after the step, written to `after`, and the estimate of its error in units of what is tolerated.

    The radii count by the root mean square of their relative error; S relative to |S| + 1e-5, T relative to 10 K.
    Not a number, or a droplet smaller than its dry particle: infinity.
    """
    for i in range(state.shape[0]):
        change = 0.0
        for stage in range(STAGES):
            change += RESULT_WEIGHTS[stage] * results[stage, i]
        after[i] = state[i] + change
    bins = dry.shape[0]
    squares = 0.0
    inside = False
    for i in range(bins):
        error = 0.0
        for stage in range(STAGES):
            error += ERROR_WEIGHTS[stage] * results[stage, BULK + i]
        error /= rtol * state[BULK + i]
        squares += error * error
        inside |= after[BULK + i] <= dry[i]
    supersaturation = 0.0
    temperature = 0.0
    for stage in range(STAGES):
        supersaturation += ERROR_WEIGHTS[stage] * results[stage, S]
        temperature += ERROR_WEIGHTS[stage] * results[stage, 1]
    worst = max(
        np.sqrt(squares / bins),
        max(abs(supersaturation) / (rtol * (abs(state[S]) + 1e-5)), abs(temperature) / (rtol * 10.0)),
    )
    # max() drops a NaN, the sum does not
    total = squares + abs(supersaturation) + abs(temperature)
    if inside or not total < 1e300:
        return np.inf
    return worst
