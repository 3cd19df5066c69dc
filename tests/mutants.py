"""Mutants: is there a formula in npae that could be wrong without a test turning red?

    python tests/mutants.py             every mutant, one after the other: 5 to 20 minutes
    python tests/mutants.py --jobs 2    two at a time
    python tests/mutants.py --only ssim those whose file or fault holds the word
    python tests/mutants.py --check     only: does each still find its line?

A mutant is the project with one small fault of the kind that people make: a sign, a lost 1/N, W for its transpose, the
last batch dropped, one beta for the other. Each is made in a scratch copy of the project (the checkout is never
touched), on the plain backend, and the tests are run there. One that makes no test fail has survived: then either a
test is missing, or the fault changes nothing that is promised, and the table says why (DeMillo, Lipton and Sayward,
1978, "Hints on test data selection").

First come the tests that ought to catch the fault, and if these pass, the whole suite; what fails there must pass
once the fault is taken out. Left out are those that look
at the source and not at what it does, `test_mutants.py` and the planted faults: they would catch anything.

`test_planted_faults.py` does the same inside one process, for fewer faults, and with every run of the tests.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NOT_COPIED = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", ".venv*", "build", "dist")
PATIENCE = 900  # seconds: what takes longer hangs
WHOLE_SUITE = [
    "tests",
    "npae",
    "--ignore=tests/test_mutants.py",
    "--deselect=tests/test_planted_faults.py::test_a_planted_fault_is_caught",
    "--deselect=tests/test_architecture.py::test_the_readmes_map_leads_to_the_lines_it_names",
]


class Mutant(NamedTuple):
    """One fault: `old`, which stands once in `file`, becomes `new`; `tests` ought to see it.

    `equivalent` says why no test can, where none can.
    """

    file: str
    fault: str
    old: str
    new: str
    tests: str
    equivalent: str = ""

    @property
    def nodes(self) -> list[str]:
        """`tests` as pytest wants them: "losses::test_x" is test_x in tests/test_losses.py; a path is a path."""
        return [t if "/" in t else re.sub(r"^(\w+)", r"tests/test_\1.py", t) for t in self.tests.split()]


SOUND = "planted_faults::test_without_a_fault_the_same_property_holds"
GRADIENTS = f"{SOUND}[gradients_are_right]"
WEIGHTS = f"{SOUND}[initial_weights_keep_the_size_of_a_signal]"
ADDS = f"{SOUND}[backward_sets_and_does_not_add]"
VECTOR = f"{SOUND}[a_step_on_the_vector_moves_the_weights]"
OWN = "autoencoder::test_your_own_networks_are_trained_as_copies_that_start_from_their_weights"
BEGIN = "autoencoder::test_weights_begin_as_what_comes_after_them_asks_and_biases_at_zero"
UNLIKE = "autoencoder::test_no_two_layers_begin_alike_and_no_two_seeds"
MIRRORED = "autoencoder::test_the_decoder_has_the_widths_of_the_encoder_in_reverse"
NAMED = "autoencoder::test_a_name_stands_for_the_activation_of_that_name"
NAMED_NOISE = "autoencoder::test_a_name_stands_for_the_corruption_of_that_name"
SCORE = "autoencoder::test_a_score_is_minus_the_mean_loss_over_all_clean_rows_however_many_blocks_they_fill"
BLOCKS = "autoencoder::test_more_rows_than_fit_in_one_block_give_the_same_codes"
EPOCH = "autoencoder::test_every_epoch_shows_every_row_once_and_in_a_new_order"
NOISE = "autoencoder::test_each_batch_has_noise_of_its_own_whatever_epoch_it_is_of"
FIRST_LOSS = "autoencoder::test_the_first_loss_is_that_of_the_network_as_it_begins"
ALL_STEPS = "autoencoder::test_a_cosine_runs_over_all_steps_and_ends_at_zero"
CLEAN = "autoencoder::test_the_denoising_loss_compares_with_the_clean_x"
LINK = "autoencoder::test_bce_reconstructs_probabilities_and_scores_logits"
SHAPES = "autoencoder::test_shapes_dtypes_and_names"
SEED = "autoencoder::test_the_seed_fixes_every_bit_and_fit_starts_anew"
PCA = "pca::test_pca_reconstructs_with_the_least_squared_error"
PCA_SIGN = "pca::test_pca_points_components_to_their_largest_entry_and_gives_their_share_of_the_whole_variance"
OWN_ARRAY = "tests/estimator/test_validation.py::test_results_are_the_callers_own"
MSE = "losses::test_mse_is_the_mean_over_every_element"
BCE = "losses::test_bce_is_the_bernoulli_likelihood"
BCE_HUGE = "losses::test_bce_is_exact_for_huge_logits"
BCE_SMALL = "losses::test_bce_of_a_nearly_certain_element_keeps_its_digits"
WIDE_MEAN = "losses::test_a_mean_of_float32_is_taken_in_float64"
SSIM = "losses::test_ssim_is_what_wang_et_al_define"
SSIM_UNIT = "losses::test_ssim_is_the_same_in_every_unit"
SSIM_WIDE = "losses::test_ssim_runs_in_float64_whatever_comes_in"
SSIM_GRADIENT = "gradients::test_ssim_of_drawn_images_and_windows"
SLOPE = "gradients::test_activation_with_its_own_slope"
WITHOUT_INPUT = "gradients::test_backward_parameters_is_backward_without_the_input_gradient"
KINK = "gradcheck::test_a_kink_within_the_step_is_left_out_and_counted"
INNER_KINK = "gradcheck::test_kinks_of_inner_layers_are_left_out_as_well"
WORST = "gradcheck::test_the_report_names_the_worst_element"
WRONG = "gradcheck::test_a_wrong_gradient_is_refused"
DIGITS = "gradcheck::test_a_gradient_may_be_wrong_after_so_many_digits_and_not_before"
ONE_WRONG = "gradcheck::test_one_wrong_parameter_is_enough"
HUGE = "kernels::test_huge_numbers_overflow_nowhere"
TAKE = "kernels::test_a_minibatch_is_the_rows_asked_for"
ADAM = "optimizers::test_adam_follows_the_papers_algorithm"
SGD = "optimizers::test_sgd_with_momentum_follows_its_definition"
DEFAULTS = "optimizers::test_the_defaults_are_those_that_the_paper_and_the_docstrings_give"
SCHEDULE = "optimizers::test_a_schedule_sets_the_rate_of_each_step_from_first_to_last"
COSINE = "optimizers::test_the_cosine_runs_from_start_to_end_and_is_halfway_in_the_middle"
LAST = "optimizers::test_a_schedule_stays_at_its_end_and_a_single_step_is_its_first"
PHILOX = "noise::test_the_stream_is_philox"
NORMAL = "noise::test_normals_are_normal"
SMALLEST = "noise::test_the_smallest_word_makes_a_large_number_and_no_infinite_one"
PEPPER = "noise::test_the_lower_half_of_what_is_struck_is_pepper_and_the_upper_salt"
STRUCK = "noise::test_an_element_is_struck_from_its_own_word_on"
GAUSSIAN = "corruptions::test_gaussian_noise_is_normal_with_the_given_deviation"
CLIP = "corruptions::test_gaussian_noise_is_clipped_to_its_range"
FRESH = "corruptions::test_noise_is_fresh_at_every_call"
UNTOUCHED = "corruptions::test_shape_and_dtype_stay_and_x_is_untouched"
RANGE = "extremes::test_a_fitted_model_never_returns_what_is_not_a_number"
MANY_IN_RANGE = "extremes::test_a_result_of_many_rows_that_left_the_range_is_refused_wherever_it_stands"
MAPPED = "batches::test_a_memory_map_is_encoded_and_scored_as_the_table_is"
ROWS_ONCE = "batches::test_every_row_comes_once_an_epoch_in_whole_batches"
WEIGHTED = "sample_weight"
GOING_ON = "going_on::test_ten_epochs_equal_five_and_five_more_bit_for_bit"
STOPPING = "going_on::test_training_stops_when_the_validation_loss_no_longer_falls_and_the_best_weights_come_back"
CHECKPOINT = "going_on::test_a_checkpoint_is_written_every_few_epochs_and_at_the_end"
MASKING = "corruptions::test_masking_sets_the_given_fraction_to_zero"
SALT = "corruptions::test_salt_and_pepper_come_in_equal_parts"

# file: (fault, right, wrong, tests that ought to see it[, why none can])
TABLE: dict[str, list[tuple[str, ...]]] = {
    "npae/layers.py": [
        ("W for its transpose", "matmul(grad_y, W.T)", "matmul(grad_y, W)", GRADIENTS),
        ("a sign in Dense's input gradient", "return kernels.of(x, grad_y, W).matmul",
         "return -kernels.of(x, grad_y, W).matmul", GRADIENTS),
        ("no bias gradient", "kernel.column_sums(grad_y, out=b.grad)", "pass", GRADIENTS),
        ("a mean for the bias's sum", "kernel.column_sums(grad_y, out=b.grad)", "b.grad[...] = grad_y.mean(axis=0)",
         GRADIENTS),
        ("the weights' gradient a mean over the batch", "kernel.matmul(x.T, grad_y, out=W.grad)",
         "W.grad[...] = x.T @ grad_y / len(x)", GRADIENTS),
        ("gradients add up", "kernel.matmul(x.T, grad_y, out=W.grad)", "W.grad += x.T @ grad_y", ADDS),
        ("backward leaves the parameters' gradients out",
         "        self.backward_parameters(grad_y)\n        return kernels", "        return kernels", GRADIENTS),
        ("Dense remembers only its first x", 'self._x = x = as_input(x, "Dense", width=self.n_in, dtype=W.dtype)',
         'x = as_input(x, "Dense", width=self.n_in, dtype=W.dtype); self._x = x if self._x is None else self._x', SEED),
        ("biases do not begin at zero", "np.zeros(self.n_out, W.dtype)", "np.full(self.n_out, 0.01, W.dtype)", BEGIN),
        ("init is ignored", "INITIALIZERS[init](", 'INITIALIZERS["glorot"](', WEIGHTS),
        ("every layer begins with the same draw", 'as_generator(rng, "Dense")', 'as_generator(0, "Dense")', UNLIKE),
        ("a layer skipped on the way forward", "for layer in self.layers:\n            x = layer.forward(x)",
         "for layer in self.layers[:-1]:\n            x = layer.forward(x)", GRADIENTS),
        ("backward in forward's order", "for layer in reversed(self.layers):", "for layer in self.layers:", GRADIENTS),
        ("a layer skipped on the way back", "for layer in reversed(self.layers):",
         "for layer in reversed(self.layers[1:]):", GRADIENTS),
        ("the first layer does not learn", "self.layers[0].backward_parameters(grad_y)", "pass", WITHOUT_INPUT),
        ("the last layer does not learn", "reversed(self.layers[1:])", "reversed(self.layers[1:-1])", WITHOUT_INPUT),
        ("kinks of the first layer only", "[sides for layer in self.layers for",
         "[sides for layer in self.layers[:1] for", INNER_KINK),
    ],
    "npae/activations.py": [
        ("ReLU begins as Glorot",
         'init = "he"\n    kinked = True\n\n    def _f(self, x: Array) -> Array:\n        return kernels.of(x).relu(x)',
         "kinked = True\n\n    def _f(self, x: Array) -> Array:\n        return kernels.of(x).relu(x)", BEGIN),
        ("a branch that is the same on both sides", "[self._y > 0]", "[self._y >= 0]", KINK),
        ("LeakyReLU's slope forgotten on the way back", "leaky_relu_backward(grad_y, y, self.slope)",
         "leaky_relu_backward(grad_y, y, 0.01)", SLOPE),
        ("LeakyReLU's slope forgotten both ways", 'self.slope = as_real(slope, "LeakyReLU", "slope", low=0, high=1)',
         "self.slope = 0.01", f"npae/activations.py {SLOPE}"),
        ("ELU's alpha forgotten on the way forward", "elu(x, self.alpha)", "elu(x, 1.0)", SLOPE),
        ("sigmoid with tanh's derivative", "kernels.of(grad_y, y).sigmoid_backward(",
         "kernels.of(grad_y, y).tanh_backward(", GRADIENTS),
        ("Identity sends y back", "kernels.of(grad_y).copy(grad_y)", "kernels.of(grad_y).copy(y)", GRADIENTS),
        ("Identity gives its input away", "return kernels.of(x).copy(x)", "return x", OWN_ARRAY),
        ("a name leads to the wrong activation", '"leaky_relu": LeakyReLU', '"leaky_relu": ReLU', NAMED),
        ("another name leads to the wrong activation", '"tanh": Tanh', '"tanh": Sigmoid', NAMED),
    ],
    "npae/losses.py": [
        ("SSIM's constants swapped", "(self.k1 * self.data_range) ** 2, (self.k2 * self.data_range) ** 2",
         "(self.k2 * self.data_range) ** 2, (self.k1 * self.data_range) ** 2", SSIM),
        ("SSIM's k1", "k1: float = 0.01", "k1: float = 0.02", SSIM),
        ("SSIM's k2", "k2: float = 0.03", "k2: float = 0.3", SSIM),
        ("SSIM's window of 7", "window: int = 11", "window: int = 7", SSIM),
        ("SSIM's sigma of 1", "sigma: float = 1.5", "sigma: float = 1.0", SSIM),
        ("SSIM forgets the range in c2", "(self.k2 * self.data_range) ** 2", "self.k2**2", SSIM_UNIT),
        ("SSIM does not square the range in c1", "(self.k1 * self.data_range) ** 2", "self.k1**2 * self.data_range",
         SSIM_UNIT),
        ("SSIM's window sums to another number than 1", "weights /= weights.sum()", "weights /= window", SSIM),
        ("SSIM's Gaussian without its 2", "(2 * sigma**2)", "(sigma**2)", SSIM),
        ("SSIM's window off its centre", "(window - 1) / 2", "window / 2", SSIM),
        ("SSIM's last window dropped", "np.zeros((n - window + 1, n))", "np.zeros((n - window, n))", SSIM),
        ("SSIM's d(x²) without its 2", "2 * x * back_xx", "x * back_xx", SSIM_GRADIENT),
        ("SSIM's d(xy) is x", "y * back_xy", "x * back_xy", SSIM_GRADIENT),
        ("SSIM's gradient normalised by pixels", "/ s.size", "/ prediction.size", SSIM_GRADIENT),
        ("SSIM climbs", "grad = -(", "grad = (", SSIM_GRADIENT),
        ("SSIM's value halved, its gradient not", "np.asarray(dissimilarity.mean())",
         "np.asarray(dissimilarity.mean() / 2)", SSIM),
        ("SSIM in float32", "prediction.astype(np.promote_types(prediction.dtype, np.float64))", "prediction",
         SSIM_WIDE),
        ("SSIM refuses targets by the wrong range", 'check_range(target, self.data_range, "SSIM")',
         'check_range(target, 1.0, "SSIM")', SSIM_UNIT),
        ("SSIM's value not weighted", "dissimilarity, grad = dissimilarity * w, grad * w", "grad = grad * w",
         "gradients::test_losses_under_weights"),
        ("SSIM's gradient not weighted", "dissimilarity, grad = dissimilarity * w, grad * w",
         "dissimilarity = dissimilarity * w", "gradients::test_losses_under_weights"),
        ("BCE without its link", "return kernels.of(prediction).sigmoid(prediction)", "return prediction", LINK),
    ],
    "npae/estimator/validation.py": [
        ("BCE refuses a target of 1", "highest <= high", "highest < high", BCE_HUGE),
        ("BCE refuses a target of 0", "lowest >= 0", "lowest > 0", BCE_HUGE),
        ("masks not seen", "isinstance(x, ma.MaskedArray) and ma.is_masked(x)", "False",
         "tests/estimator/test_validation.py"),
        ("weights may be negative", "(weights >= 0)", "(weights >= -9)",
         "sample_weight::test_bad_weights_are_refused_before_any_work"),
        ("the first numbers only are checked", "for start in range(0, len(table), rows):",
         "for start in range(0, 1, rows):",
         "tests/estimator/test_validation.py::test_a_table_is_checked_to_its_last_number_however_large"),
        ("what left the range is returned", "if not (math.isfinite(total)", "if False and not (math.isfinite(total)",
         RANGE),
        ("a sum beyond the range is held for an element", "(math.isfinite(total) or np.isfinite(result).all())",
         "math.isfinite(total)", "extremes::test_results_of_which_the_sum_alone_leaves_the_range_are_returned"),
        ("weights that sum to one", "weights / weights.mean()", "weights / weights.sum()", WEIGHTED),
    ],
    "npae/estimator/dataframes.py": [
        ("the order of columns does not matter", "elif not np.array_equal(names, fitted):",
         "elif set(names) != set(fitted):", "tests/estimator/test_dataframes.py"),
    ],
    "npae/estimator/parameters.py": [
        ("fields set before the whole recipe", "after = values | own", "after = dict(values)",
         "tests/estimator/test_parameters.py"),
    ],
    "npae/weights.py": [
        ("a loss of one's own not weighted", "np.mean(weight * np.array(rows, np.float64))",
         "np.mean(np.array(rows, np.float64))", "sample_weight::test_a_loss_of_your_own_is_weighted_row_by_row"),
        ("its gradient not weighted", "grad * weight[:, None]", "grad",
         "sample_weight::test_a_loss_of_your_own_is_weighted_row_by_row"),
    ],
    "npae/initializers.py": [
        ("He's 2", "np.sqrt(2.0 / n_in)", "np.sqrt(1.0 / n_in)", WEIGHTS),
        ("He by the other width", "np.sqrt(2.0 / n_in)", "np.sqrt(2.0 / n_out)", WEIGHTS),
        ("He without the root", "np.sqrt(2.0 / n_in)", "2.0 / n_in", WEIGHTS),
        ("Glorot's 6", "6.0 / (n_in + n_out)", "2.0 / (n_in + n_out)", WEIGHTS),
        ("Glorot by one width", "6.0 / (n_in + n_out)", "6.0 / n_in", WEIGHTS),
        ("Glorot positive only", "rng.uniform(-limit, limit,", "rng.uniform(0, limit,", WEIGHTS),
        ("names swapped", '{"he": he, "glorot": glorot}', '{"he": glorot, "glorot": he}', WEIGHTS),
    ],
    "npae/parameter.py": [
        ("weights lost in the vector", "flat.value[stretch] = p.value.ravel()", "pass", OWN),
        ("weights scrambled in the vector", "p.value.ravel()", 'p.value.ravel("F")', OWN),
        ("gradients not in the vector", "p.grad = flat.grad[stretch].reshape(p.value.shape)", "pass", VECTOR),
    ],
    "npae/optimizers.py": [
        ("Adam's correction a step late", "t = self.rate(state), state.done + 1",
         "t = self.rate(state), state.done + 2", ADAM),
        ("Adam without correction of m", "1 - self.beta1**t,", "1.0,", ADAM),
        ("Adam corrects v by beta1", "1 - self.beta2**t", "1 - self.beta1**t", ADAM),
        ("Adam's betas swapped", "rate, self.beta1, self.beta2,", "rate, self.beta2, self.beta1,", ADAM),
        ("Adam's eps is its own", "self.beta2, self.eps,", "self.beta2, 1e-8,", ADAM),
        ("decay not scaled by the rate", "rate * self.weight_decay", "self.weight_decay", ADAM),
        ("Adam counts no steps", "        )  # fmt: skip\n        state.done += 1", "        )  # fmt: skip", ADAM),
        ("SGD counts no steps", "self.nesterov\n        state.done += 1", "self.nesterov", SGD),
        ("momentum is ignored", "self.rate(state), self.momentum, self.nesterov",
         "self.rate(state), 0.0, self.nesterov", SGD),
        ("nesterov is ignored", "self.rate(state), self.momentum, self.nesterov",
         "self.rate(state), self.momentum, False", SGD),
        ("a schedule that never ends", "(state.steps or 1) - 1", "state.steps or 1", SCHEDULE),
        ("a schedule that starts late", "state.done / last)", "(state.done + 1) / last)", SCHEDULE),
        ("a schedule that runs on after its end", "min(1.0, state.done / last)", "state.done / last", LAST),
        ("a single step at the schedule's end", "if last else 0.0", "if last else 1.0", LAST),
        ("Adam's default rate", "learning_rate: float | Schedule = 1e-3\n    beta1",
         "learning_rate: float | Schedule = 1e-2\n    beta1", DEFAULTS),
        ("Adam's default beta1", "beta1: float = 0.9\n", "beta1: float = 0.99\n", DEFAULTS),
        ("Adam's default beta2", "beta2: float = 0.999", "beta2: float = 0.99", DEFAULTS),
        ("SGD's default rate", "learning_rate: float | Schedule = 1e-2\n    momentum",
         "learning_rate: float | Schedule = 1e-1\n    momentum", DEFAULTS),
    ],
    "npae/schedules.py": [
        ("the cosine without its half", "(1 + math.cos(math.pi * share)) / 2", "(1 + math.cos(math.pi * share))",
         COSINE),
        ("the cosine upside down", "1 + math.cos", "1 - math.cos", COSINE),
        ("the cosine over a whole turn", "math.pi * share", "2 * math.pi * share", COSINE),
        ("a quarter wave", "(1 + math.cos(math.pi * share)) / 2", "math.cos(math.pi * share / 2)", COSINE),
        ("the cosine's end forgotten", "self.end + (self.start - self.end)", "self.start", COSINE),
    ],
    "npae/corruptions.py": [
        ("clip is ignored", "(-np.inf, np.inf) if self.clip is None else self.clip", "(-np.inf, np.inf)", CLIP),
        ("clip's ends swapped", "low, high = (-np.inf", "high, low = (-np.inf", CLIP),
        ("noise of the wrong size", "key, self.std, low", "key, self.std**2, low", GAUSSIAN),
        ("the same key each time", "rng.integers(2**64, size=1, dtype=np.uint64)", "np.zeros(1, np.uint64)", FRESH),
        ("the generator is ignored", "rng.integers(2**64, size=1, dtype=np.uint64)",
         "np.random.default_rng().integers(2**64, size=1, dtype=np.uint64)", UNTOUCHED),
        ("masking the rest", "x, key, self.fraction)", "x, key, 1 - self.fraction)", MASKING),
        ("half the salt and pepper", "self.fraction, self.low, self.high)", "self.fraction / 2, self.low, self.high)",
         SALT),
        ("low and high swapped", "self.fraction, self.low, self.high)", "self.fraction, self.high, self.low)", PEPPER),
        ("a name leads to the wrong noise", '"masking": MaskingNoise', '"masking": GaussianNoise', NAMED_NOISE),
    ],
    "npae/networks.py": [
        ("hidden widths of the decoder in the encoder's order", "_stack(widths[::-1],",
         "_stack([widths[-1], *widths[1:-1], widths[0]],", MIRRORED),
        ("an activation after the code", "return [*layers, Dense(widths[-2], widths[-1], dtype=dtype, rng=rng)]",
         "return [*layers, Dense(widths[-2], widths[-1], dtype=dtype, rng=rng), copy.deepcopy(between)]",
         "npae/networks.py"),
        ("no activation between", ", copy.deepcopy(between)]\n", "]\n", "npae/networks.py"),
        ("no activation at the output", "decoder.append(copy.deepcopy(last))", "pass", "npae/networks.py"),
        ("all layers begin as Glorot", "init=between.init, ", "", BEGIN),
        ("the last layer begins as He", "widths[-1], dtype=dtype, rng=rng)]",
         "widths[-1], init=between.init, dtype=dtype, rng=rng)]", BEGIN),
        ("the last layer's draw is not the seed's", "widths[-1], dtype=dtype, rng=rng)]", "widths[-1], dtype=dtype)]",
         SEED),
        ("the given networks are trained, not copies", "Sequential(*copy.deepcopy((encoder, decoder)))",
         "Sequential(encoder, decoder)", OWN),
    ],
    "npae/blocks.py": [
        ("blocks weighted alike in the mean", "float(mean) * len(inputs[rows])",
         "float(mean) * len(inputs) / -(-len(inputs) // ROWS_AT_A_TIME)", SCORE),
        ("the last block weighted as if it were whole", "float(mean) * len(inputs[rows])",
         "float(mean) * ROWS_AT_A_TIME", SCORE),
        ("the last block dropped", "range(0, len(tables[0]), ROWS_AT_A_TIME)",
         "range(0, max(1, len(tables[0]) - ROWS_AT_A_TIME + 1), ROWS_AT_A_TIME)", SCORE),
        ("targets stay those of the first block", ".copy(table[rows], out=block)",
         ".copy(table[rows if block is blocks[0] else slice(0, ROWS_AT_A_TIME)], out=block)", SCORE),
        ("blocks that overlap by a row", "slice(first, first + ROWS_AT_A_TIME)",
         "slice(first, first + ROWS_AT_A_TIME + 1)", SCORE),
        ("a few rows keep their dtype", "function(X.astype(dtype, copy=False))", "function(X)", MAPPED),
        ("the rows of the last block keep their dtype", "table[rows].astype(dtype, copy=False)", "table[rows]", MAPPED),
        ("the first block for each", "caller), out=Y[rows])", "caller), out=Y[: len(y)])", BLOCKS),
        ("many rows may leave the range", "copy(check_finite(y, caller)", "copy(y", MANY_IN_RANGE),
        ("a few rows may leave the range", "return check_finite(function(X.astype(dtype, copy=False)), caller)",
         "return function(X.astype(dtype, copy=False))", RANGE),
        ("one whole block is a block of many", "if len(X) <= ROWS_AT_A_TIME:", "if len(X) < ROWS_AT_A_TIME:", BLOCKS,
         "256 rows are then copied into one block and back: the same numbers, a little later"),
    ],
    "npae/batches.py": [
        ("the last batch dropped", "< len(blocks) else len(rows)", "< 0 else len(rows) // batch_size * batch_size",
         EPOCH),
        ("a row of each batch dropped", "rows[start : start + batch_size]", "rows[start : start + batch_size - 1]",
         EPOCH),
        ("no shuffling", "rng.shuffle(rows)", "pass", EPOCH),
        ("the same order in every epoch", "rng.shuffle(rows)", "np.random.default_rng(0).shuffle(rows)", EPOCH),
        ("rows drawn with replacement", "rng.shuffle(rows)", "rows = rng.choice(rows, len(rows))", EPOCH),
        ("blocks in their order", "rng.permutation(math.ceil(n / block))", "np.arange(math.ceil(n / block))",
         "batches::test_blocks_are_shuffled_and_so_are_the_rows_of_each_pool"),
        ("the rows between two pools dropped", "left = rows[whole:]", "left = rows[:0]", ROWS_ONCE),
        ("the last block dropped", "rng.permutation(math.ceil(n / block))", "rng.permutation(max(1, n // block))",
         ROWS_ONCE),
        ("the last short batch not counted in the schedule", "math.ceil(len(X) / batch_size)",
         "max(1, len(X) // batch_size)", ALL_STEPS),
        ("weights of other rows", "self.weight[rows]", "self.weight[: len(rows)]", WEIGHTED),
        ("weights as they come", "normalized_weights(sample_weight, len(table), caller)",
         "np.asarray(sample_weight, np.float64)", WEIGHTED),
        ("maps in an order of their own", "mapped(X) and X.nbytes > LARGE", "mapped(X)",
         "batches::test_a_memory_map_of_many_megabytes_teaches_what_the_table_does"),
        ("the first batch twice", "self._checked(again, width", "self._checked(chain([self.first], again), width",
         "batches::test_batches_are_taken_as_they_come_one_step_each"),
        ("the first batch lost", "chain([self.first], self.iterator), None", "self.iterator, None",
         "batches::test_batches_are_taken_as_they_come_one_step_each"),
    ],
    "npae/history.py": [
        ("the largest validation loss is the best", "history.validation_loss[-1] < history.validation_loss[best - 1]",
         "history.validation_loss[-1] > history.validation_loss[best - 1]", STOPPING),
        ("the first validation loss stays the best", "history.validation_loss[-1] < history.validation_loss[best - 1]",
         "False", STOPPING),
        ("one epoch more of patience", "epoch - best >= patience", "epoch - best > patience", STOPPING),
        ("the best is not a copy", "history.best_epoch, self.best = epoch, parameters.copy()",
         "history.best_epoch, self.best = epoch, parameters", STOPPING),
        ("validation noise that moves on", "return copy.deepcopy(self.validation_rng)", "return self.validation_rng",
         GOING_ON),
        ("the first epoch for the last", '"loss": self.loss[-1]', '"loss": self.loss[0]',
         "going_on::test_a_callback_is_told_the_model_the_epoch_and_its_numbers"),
        ("the old numbers of the optimizer kept", "self.optimizer = optimizer\n        return", "return",
         "going_on::test_the_optimizer_may_change_its_numbers_but_not_its_kind"),
    ],
    "npae/training.py": [
        ("a short batch weighted as a whole one", "total + value * len(item)", "total + value * training.state.done",
         FIRST_LOSS),
        ("a noisy target", "(x_hat, x, weight)", "(x_hat, x_in, weight)", CLEAN),
        ("no noise from npae's own corruptions", "x_in = noise.apply(x, key)", "pass", NOISE),
        ("no noise from a function", "elif corruption is not None:", "elif False:", CLEAN),
        ("the same noise in every batch", "key[:] = draw_key(training.noise_rng)", "key[:] = 1", NOISE),
        ("weights forgotten", "(x_hat, x, weight)", "(x_hat, x, None)", WEIGHTED),
        ("the first weights for all batches", "w[:] = weight", "pass", WEIGHTED),
        ("the best not put back", "training.last, vector.value[:] = vector.value.copy(), training.best", "pass",
         STOPPING),
        ("the last epoch not kept", "training.last, vector.value[:] = vector.value.copy(), training.best",
         "vector.value[:] = training.best", GOING_ON),
        ("gone on with from the best", "vector.value[:], training.last = training.last, None", "training.last = None",
         GOING_ON),
        ("one epoch too many", "while len(history.loss) < epochs and", "while len(history.loss) <= epochs and",
         "autoencoder::test_shapes_dtypes_and_names"),
        ("NaN is a number", "if not math.isfinite(value):", "if False:",
         "extremes::test_odd_but_legal_data_give_numbers_or_a_clear_error"),
    ],
    "npae/fitting.py": [
        ("a schedule that ends with the first part", "training.state.done + (until - done) * batches.steps",
         "training.state.steps", "going_on::test_a_resumed_schedule_reaches_its_end_with_the_last_epoch"),
        ("a schedule that begins again", "training.state.done + (until - done) * batches.steps",
         "training.state.done + until * batches.steps", GOING_ON),
        ("the model itself goes on, not a copy", 'copy.deepcopy(before.get("training_"))', 'before.get("training_")',
         "going_on::test_going_on_that_diverges_loses_nothing"),
        ("an earlier fit lost to divergence", "vars(model).update(before)", "pass",
         "going_on::test_going_on_that_diverges_loses_nothing"),
        ("a pass goes on from the last weights", "training.last if not epochs else None", "training.last",
         "going_on::test_a_pass_after_early_stopping_goes_on_from_the_best_weights"),
        ("a checkpoint an epoch late", "epoch % self.every == 0", "epoch % self.every == 1",
         CHECKPOINT),
        ("no checkpoint at the end", "(patience or len(training.history.loss) % every)", "False", CHECKPOINT),
        ("no checkpoint of the best", "(patience or len(training.history.loss) % every)",
         "len(training.history.loss) % every", "going_on::test_a_checkpoint_at_the_end_has_the_best_weights"),
        ("any answer ends training", "isinstance(answer, bool | np.bool_) and bool(answer)", "bool(answer)",
         "going_on::test_a_callback_ends_training_with_true_and_with_nothing_else"),
        ("a target seen as noisy in validation", "if corruption else V, V)", "if corruption else V, V + 0.1)",
         "autoencoder::test_validation_loss_is_recorded_and_falls"),
        ("validated without noise", "corrupt(corruption, V, training.fixed_rng()) if corruption else V", "V",
         "autoencoder::test_a_denoising_autoencoder_is_validated_under_noise_that_stays_the_same"),
        ("a generator that does not move on", "as_generator(model.random_state, caller).spawn(4)", "pass",
         "autoencoder::test_a_generator_moves_on_with_a_fit_but_not_with_a_refusal"),
    ],
    "npae/autoencoder.py": [
        ("reconstruct without the link", "loss.link(network.forward(x))", "network.forward(x)",
         f"{SHAPES} autoencoder::test_twenty_digits_can_be_learned_by_heart"),
        ("decode without the link", "loss.link(decoder.forward(z))", "decoder.forward(z)", LINK),
        ("lower is better", "return -check_finite(", "return check_finite(", SHAPES),
        ("a DAE scored on noise", "evaluate(network, self.loss_, X, X, weight)",
         "evaluate(network, self.loss_, self.objective(X).inputs, X, weight)", SCORE),
        ("an encoder without weights computes in float32", "X, self._dtype, type(self).__name__, encoder)",
         "X, encoder.dtype, type(self).__name__, encoder)",
         MAPPED),
    ],
    "npae/pca.py": [
        ("PCA without centring", "X.mean(axis=0, dtype=np.float64)", "np.zeros(X.shape[1])", PCA),
        ("codes not centred", "(X - self.mean_) @ V.T, \"PCA\"", "X @ V.T, \"PCA\"", PCA),
        ("the mean not added again", "Z @ V + self.mean_", "Z @ V", PCA),
        ("variance by n", "s**2 / max(1.0, n - 1)", "s**2 / max(1.0, n)", PCA),
        ("deviations for variances", "s**2 / max(1.0", "s / max(1.0", PCA),
        ("components of either sign", "V *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(axis=1)])[:, None]", "pass",
         PCA_SIGN),
        ("the sign of the first entry", "np.abs(V).argmax(axis=1)", "0", PCA_SIGN),
        ("shares of what was kept", "(variance.sum() or 1.0)", "variance[:k].sum()", PCA_SIGN),
        ("absolute errors in PCA's score", "np.square(", "np.abs(", PCA),
    ],
    "npae/gradcheck.py": [
        ("divided by h", "/ (2 * h)", "/ h", GRADIENTS),
        ("a step to one side", "f.at(array, index, w - h)", "f.at(array, index, w)", GRADIENTS),
        ("a tolerance of a hundredth", '"central": 1e-7', '"central": 1e-2', WORST),
        ("a tolerance a hundred times as wide", '"central": 1e-7', '"central": 1e-5', DIGITS),
        ("a complex tolerance as wide as the other", '"complex": 1e-12', '"complex": 1e-7', DIGITS),
        ("too long a step", '"central": 1e-5', '"central": 1e-3', "npae/gradcheck.py"),
        ("too short a step", '"central": 1e-5', '"central": 1e-10', "npae/gradcheck.py"),
        ("an error relative to 1", "return difference / self.size if difference else 0.0", "return difference",
         "gradcheck::test_derivatives_of_a_mean_over_millions_of_elements_are_not_too_small_to_be_wrong"),
        ("no doubt granted", "max(0.0, self.error - self.doubt / self.size)", "self.error",
         "gradcheck::test_right_gradients_pass_in_any_unit_and_wrong_ones_do_not"),
        ("all doubt granted", "self.error - self.doubt / self.size", "self.error - 1e9 * self.doubt / self.size",
         WORST),
        ("no doubt about where f bends", "doubt += abs(longer[0] - n)", "pass",
         "gradcheck::test_where_f_bends_within_the_step_the_difference_is_not_trusted_to_that_digit"),
        ("a step that does not grow with the number", "h *= max(1.0, abs(w))", "h *= 1.0",
         "gradcheck::test_the_step_grows_with_the_number_that_it_moves"),
        ("a report that crashes with nothing compared", "return np.inf if self.checked else np.nan", "return np.inf",
         "gradcheck::test_nothing_compared_is_not_a_pass"),
        ("a step that does not grow with f", "f.step * min(LONGER, ", "f.step * min(1.0, ",
         "gradcheck::test_derivatives_of_a_mean_over_millions_of_elements_are_not_too_small_to_be_wrong"),
        ("a sign that does not matter", "abs(self.analytic - self.numeric)",
         "abs(abs(self.analytic) - abs(self.numeric))", WRONG),
        ("kinks above not seen", "if same_above and same_below", "if same_below", KINK),
        ("kinks below not seen", "if same_above and same_below", "if same_above", KINK),
        ("an element not put back", "        finally:\n            array[index] = w",
         "        finally:\n            pass", GRADIENTS),
        ("the number compared does not matter", "return c.checked > 0 and c.excess", "return c.excess",
         "gradcheck::test_nothing_compared_is_not_a_pass"),
        ("one right array is a pass", "return all(map(self._passes", "return any(map(self._passes", ONE_WRONG),
        ("the best for the worst", "return max(compared, key=lambda c: (max(c.excess, self",
         "return min(compared, key=lambda c: (max(c.excess, self", ONE_WRONG),
        ("NaN is a pass", "            return np.inf", "            return 0.0", WRONG),
        ("a cotangent of ones", "v = rng.standard_normal(y.shape)", "v = np.ones(y.shape)", WRONG),
        ("a cotangent that x was drawn with", "as_generator(random_state, CALLER).spawn(1)[0]",
         "as_generator(random_state, CALLER)", "gradcheck::test_an_x_drawn_with_the_checkers_own_seed_hides_nothing"),
        ("always the first elements", "np.sort(f.rng.choice(array.size, f.max_elements, replace=False))",
         "np.arange(f.max_elements)",
         "gradcheck::test_the_elements_that_are_compared_come_from_the_whole_array"),
        ("the model itself is moved", "network = copy.deepcopy(network)", "pass",
         "gradcheck::test_the_model_is_left_as_it_was"),
    ],
    "npae/kernels/numpy_backend.py": [
        ("the bias subtracted", "y += b", "y -= b", GRADIENTS),
        ("a mean for a sum", "np.sum(a, axis=0", "np.mean(a, axis=0", GRADIENTS),
        ("always the first rows", "c: Array = a[rows]", "c: Array = a[: len(rows)]", TAKE),
        ("each minibatch a row late", "c: Array = a[rows]", "c: Array = a[rows - 1]", TAKE),
        ("ReLU an absolute value", "np.maximum(x, 0)", "np.abs(x)", "npae/activations.py"),
        ("ReLU lets all gradients through", "grad_y * (y > 0)", "grad_y * (y >= 0)", GRADIENTS),
        ("LeakyReLU's sign", "np.where(x > 0, x, slope * x)", "np.where(x > 0, x, -slope * x)", GRADIENTS),
        ("LeakyReLU without leak on the way back", "np.where(y > 0, grad_y, slope * grad_y)",
         "np.where(y > 0, grad_y, 0 * grad_y)", GRADIENTS),
        ("ELU's minus one", "alpha * np.expm1(np.minimum(x, 0))", "alpha * np.exp(np.minimum(x, 0))",
         "npae/activations.py"),
        ("ELU without alpha", "alpha * np.expm1(np.minimum(x, 0))", "np.expm1(np.minimum(x, 0))", SLOPE),
        ("ELU's exponential overflows", "np.expm1(np.minimum(x, 0))", "np.expm1(x)", HUGE),
        ("ELU's y + alpha", "grad_y * (y + alpha)", "grad_y * (y + 1)", SLOPE),
        ("sigmoid of -x", "np.where(positive, 1, e) / (1 + e)\n", "np.where(positive, e, 1) / (1 + e)\n", GRADIENTS),
        ("sigmoid's exponential overflows",
         "    e = np.exp(np.where(positive, -x, x))\n    y: Array = np.where(positive, 1, e) / (1 + e)",
         "    y: Array = 1 / (1 + np.exp(-x))", HUGE),
        ("sigmoid's derivative without y", "grad_y * y * (1 - y)", "grad_y * (1 - y)", GRADIENTS),
        ("tanh's square", "grad_y * (1 - y * y)", "grad_y * (1 - y)", GRADIENTS),
        ("MSE with 1/n", "error * (2 / error.size)", "error * (2 / len(error))", GRADIENTS),
        ("MSE without its 2", "error * (2 / error.size)", "error * (1 / error.size)", GRADIENTS),
        ("MSE's sign", "error = prediction - target", "error = target - prediction", GRADIENTS),
        ("MSE of absolute errors", "_weighted(error * error,", "_weighted(abs(error),", MSE),
        ("MSE summed over both", "_weighted(error * error, error * (2 / error.size), weight)",
         "_weighted(error * error * error.size, error * 2, weight)", MSE),
        ("MSE halved over both", "_weighted(error * error, error * (2 / error.size), weight)",
         "_weighted(error * error / 2, error / error.size, weight)", MSE),
        ("a weighted value, a plain gradient", "cost, grad = cost * weight[:, None], grad * weight[:, None]",
         "cost = cost * weight[:, None]", WEIGHTED),
        ("a weighted gradient, a plain value", "cost, grad = cost * weight[:, None], grad * weight[:, None]",
         "grad = grad * weight[:, None]", WEIGHTED),
        ("a sum in float32", "dtype=np.promote_types(a.dtype, np.float64)", "dtype=a.dtype",
         "kernels::test_sums_over_millions_of_rows_keep_their_digits"),
        ("BCE's branch", "1 - target, target", "target, 1 - target", BCE),
        ("BCE's log term", "np.log1p(e)", "e", BCE),
        ("BCE's last digits", "np.log1p(e)", "np.log(1 + e)", BCE_SMALL),
        ("BCE's sign", "(1 + e) - target)", "(1 + e) + target)", GRADIENTS),
        ("BCE with 1/n", "/ target.size", "/ len(target)", GRADIENTS),
        ("BCE's gradient of -z", "_weighted(cost, (np.where(positive, 1, e)",
         "_weighted(cost, (np.where(positive, e, 1)", GRADIENTS),
        ("SSIM without covariance", "2 * (xy - mu_x * mu_y) + c2", "c2", SSIM),
        ("SSIM's covariance not centred", "2 * (xy - mu_x * mu_y) + c2", "2 * xy + c2", SSIM),
        ("SSIM's covariance without its 2", "2 * (xy - mu_x * mu_y) + c2", "(xy - mu_x * mu_y) + c2", SSIM),
        ("SSIM's variance not centred", "(yy - mu_y * mu_y)", "yy", SSIM),
        ("SSIM without its brightness", "s = mean_above * structure_above / below",
         "s = structure_above / structure_below", SSIM),
        ("SSIM's constant below only", "mean_above = 2 * mu_x * mu_y + c1", "mean_above = 2 * mu_x * mu_y", SSIM),
        ("SSIM's d_xx", "d_xx = -s / structure_below", "d_xx = s / structure_below", SSIM_GRADIENT),
        ("SSIM's d_xy without its 2", "d_xy = 2 * mean_above / below", "d_xy = mean_above / below", SSIM_GRADIENT),
        ("SSIM's gradient without covariance", " - mu_y * d_xy", "", SSIM_GRADIENT),
        ("SSIM's gradient without variance", " - 2 * mu_x * d_xx", "", SSIM_GRADIENT),
        ("SSIM's gradient without brightness", " - 2 * mu_x * s / mean_below", "", SSIM_GRADIENT),
        ("a mean summed in float32", "cost.mean(dtype=np.promote_types(cost.dtype, np.float64))", "cost.mean()",
         WIDE_MEAN),
        ("momentum with dampening", "    v += grad\n", "    v += (1 - momentum) * grad\n", SGD),
        ("velocity forgotten", "v *= momentum", "v *= 0", SGD),
        ("Nesterov looks too far", "grad + momentum * v if nesterov", "grad + v if nesterov", SGD),
        ("Nesterov without the gradient", "grad + momentum * v if nesterov", "momentum * v if nesterov", SGD),
        ("uphill", "value -= rate * (grad", "value += rate * (grad", SGD),
        ("Adam's m by beta2", "(1 - beta1) * grad", "(1 - beta2) * grad", ADAM),
        ("Adam's m decays by beta2", "m *= beta1", "m *= beta2", ADAM),
        ("Adam's gradient not squared", "(1 - beta2) * grad * grad", "(1 - beta2) * abs(grad)", ADAM),
        ("Adam without the root", "np.sqrt(v / correction2)", "(v / correction2)", ADAM),
        ("Adam's eps inside the root", "np.sqrt(v / correction2) + eps", "np.sqrt(v / correction2 + eps)", ADAM),
        ("Adam without eps", "np.sqrt(v / correction2) + eps", "np.sqrt(v / correction2)", ADAM),
        ("Adam's v not corrected", "np.sqrt(v / correction2)", "np.sqrt(v)", ADAM),
        ("decay forgotten", "rate * direction + decay * value", "rate * direction", ADAM),
        ("decay twice by the rate", "rate * direction + decay * value", "rate * (direction + decay * value)", ADAM),
        ("decay grows the weights", "rate * direction + decay * value", "rate * direction - decay * value", ADAM),
        ("decay coupled to the gradient", "    m *= beta1\n",
         "    grad = grad + decay / rate * value if rate else grad\n    decay = 0\n    m *= beta1\n", ADAM),
        ("nine rounds of Philox", "range(10)", "range(9)", PHILOX),
        ("Philox counts from 1", "np.arange(-(-n // 4), dtype=np.uint64)",
         "np.arange(1, -(-n // 4) + 1, dtype=np.uint64)", PHILOX),
        ("Philox without its key", "half) ^ x1 ^ k0", "half) ^ x1", PHILOX),
        ("Philox with half of its key", "k0, k1 = key & low, key >> half", "k0, k1 = key & low, key & low", PHILOX),
        ("Philox's second constant", "0xCD9E8D57", "0xCD9E8D75", PHILOX),
        ("Philox's key stands still", "k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low",
         "pass", PHILOX),
        ("a logarithm of zero", ">> 9) + 0.5)", ">> 9) + 0.0)", SMALLEST),
        ("Box and Muller without their 2", "np.sqrt(-2 * np.log", "np.sqrt(-1 * np.log", NORMAL),
        ("half a circle", "(2 * np.pi * 2.0**-32)", "(np.pi * 2.0**-32)", NORMAL),
        ("half of Box and Muller", "r * np.cos(a), r * np.sin(a)", "r * np.cos(a), r * np.cos(a)", NORMAL),
        ("noise in proportion to x", "x + std * normals(", "x + std * x * normals(", GAUSSIAN),
        ("every row the same noise", "normals(key, x.size).reshape(x.shape)", "normals(key, x.shape[-1])", GAUSSIAN),
        ("every row the same mask", "philox(key, x.size).reshape(x.shape)",
         "philox(key, x.shape[-1]) + np.zeros(x.shape, np.uint32)", MASKING),
        ("no clip", "np.clip(noisy, low, high)", "noisy", CLIP),
        ("noise in the wrong dtype", "np.clip(noisy, low, high).astype(x.dtype)", "np.clip(noisy, low, high)",
         UNTOUCHED),
        ("masking at most half", "salt_and_pepper(x, key, fraction, 0, 0)",
         "salt_and_pepper(x, key, fraction / 2, 0, 0)", MASKING),
        ("masked to one", "salt_and_pepper(x, key, fraction, 0, 0)", "salt_and_pepper(x, key, fraction, 1, 1)",
         MASKING),
        ("more salt than pepper", "fraction * 2.0**31", "fraction * 2.0**30", SALT),
        ("salt where pepper belongs",
         "x.dtype.type(high), x)\n    return np.where(words < np.floor(fraction * 2.0**31), x.dtype.type(low), salted)",
         "x.dtype.type(low), x)\n    return np.where(words < np.floor(fraction * 2.0**31), x.dtype.type(high), salted)",
         PEPPER),
        ("struck from a word too late", "words < np.floor(fraction * 2.0**32)", "words <= np.floor(fraction * 2.0**32)",
         STRUCK),
    ],
}  # fmt: skip

MUTANTS = [Mutant(file, *row) for file, rows in TABLE.items() for row in rows]


def complaints(mutants: Sequence[Mutant] = MUTANTS) -> Iterator[str]:
    """What keeps a mutant from being made, one line each; nothing if all is well."""
    for m in mutants:
        text = (ROOT / m.file).read_text(encoding="utf-8")
        if text.count(m.old) != 1:
            yield f"{m.file}, {m.fault}: {m.old!r} stands there {text.count(m.old)} times, and should once"
            continue
        try:
            if ast.dump(ast.parse(text)) == ast.dump(ast.parse(text.replace(m.old, m.new))):
                yield f"{m.file}, {m.fault}: nothing but a comment or a space is changed"
        except SyntaxError as error:
            yield f"{m.file}, {m.fault}: what is made of it is not Python: {error}"
        for node in m.nodes:
            file, _, name = node.partition("::")
            if not (ROOT / file).exists():
                yield f"{m.file}, {m.fault}: there is no {file}"
            elif name and f"def {name.partition('[')[0]}(" not in (ROOT / file).read_text(encoding="utf-8"):
                yield f"{m.file}, {m.fault}: there is no {name} in {file}"


class Verdict(NamedTuple):
    """The first test that failed, or "" if none did, and how long it took."""

    caught_by: str
    seconds: float


def run_tests(folder: Path, arguments: Sequence[str]) -> str:
    """The first test that fails in that copy of the project; "" if all pass. RuntimeError if pytest cannot run them."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "NPAE_BACKEND": "numpy",
        "HYPOTHESIS_PROFILE": "first_failure",
        "PYTHONDONTWRITEBYTECODE": "1",  # a fault may leave size and second of a file as they were
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-rfE", "--tb=no", "-p", "no:cacheprovider", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"nothing: no end after {PATIENCE} s"
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return failed[1]


@contextmanager
def planted(folder: Path, m: Mutant) -> Iterator[None]:
    """The fault, in that copy of the project, for a while."""
    path = folder / m.file
    right = path.read_text(encoding="utf-8")
    path.write_text(right.replace(m.old, m.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def judge(folder: Path, m: Mutant) -> Verdict:
    """The tests of one mutant, and the whole suite if they let it through."""
    started = time.perf_counter()
    with planted(folder, m):
        caught_by = run_tests(folder, m.nodes)
        asked_all = not caught_by and not m.equivalent
        if asked_all:
            caught_by = run_tests(folder, WHOLE_SUITE)
    if asked_all and caught_by and "::" in caught_by and run_tests(folder, [caught_by]):
        raise SystemExit(f"{caught_by} fails without a fault: mend that first.")
    note = " (of the whole suite)" if asked_all and caught_by else ""
    return Verdict(caught_by.rpartition("::")[2] + note, time.perf_counter() - started)


def judge_all(mutants: Sequence[Mutant], jobs: int, say: Callable[[Mutant, Verdict], None]) -> list[Verdict]:
    """All of them, `jobs` at a time, each worker in a copy of its own."""
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="npae-mutants-") as scratch, ThreadPoolExecutor(jobs) as pool:
        folders: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for i in range(jobs):
            folders.put(Path(shutil.copytree(ROOT, Path(scratch, str(i), "npae"), ignore=NOT_COPIED)))

        def one(m: Mutant) -> Verdict:
            folder = folders.get()
            try:
                return judge(folder, m)
            finally:
                folders.put(folder)

        folder = folders.get()
        if failed := run_tests(folder, sorted({node for m in mutants for node in m.nodes})):
            raise SystemExit(f"{failed} fails without a fault: mend that first.")
        folders.put(folder)
        for m, verdict in zip(mutants, pool.map(one, mutants), strict=True):
            say(m, verdict)
            verdicts.append(verdict)
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description="Plant one fault at a time and see the tests catch it.")
    parser.add_argument("--check", action="store_true", help="only look whether every mutant can be made")
    parser.add_argument("--list", action="store_true", help="only print the table")
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose file or fault holds the text")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it; one test sends it
    mutants = [m for m in MUTANTS if options.only.lower() in f"{m.file} {m.fault}".lower()]
    wrong = list(complaints(mutants))
    if wrong or options.check:
        print(*wrong, f"{len(mutants)} mutants, {len(wrong)} complaints", sep="\n")
        return bool(wrong)
    if options.list or not mutants:
        print(*(f"{m.file.removeprefix('npae/'):<26} {m.fault}" for m in mutants), f"{len(mutants)} mutants", sep="\n")
        return not mutants

    def say(m: Mutant, verdict: Verdict) -> None:
        outcome = f"caught by {verdict.caught_by}" if verdict.caught_by else "SURVIVED"
        if m.equivalent:
            outcome = f"{outcome}, though held for equivalent" if verdict.caught_by else f"equivalent: {m.equivalent}"
        print(f"{m.file.removeprefix('npae/'):<26} {m.fault:<52} {verdict.seconds:5.1f} s  {outcome}", flush=True)

    verdicts = judge_all(mutants, options.jobs, say)
    equivalent = sum(bool(m.equivalent) for m in mutants)
    caught = sum(bool(v.caught_by) and not m.equivalent for m, v in zip(mutants, verdicts, strict=True))
    mistaken = sum(bool(v.caught_by) and bool(m.equivalent) for m, v in zip(mutants, verdicts, strict=True))
    print(f"{caught} of {len(mutants) - equivalent} caught, {equivalent} equivalent")
    return bool(caught < len(mutants) - equivalent or mistaken)


if __name__ == "__main__":
    sys.exit(main())
