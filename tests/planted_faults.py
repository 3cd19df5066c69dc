"""Planted faults: break the code in one place, and see a test fail. A fault that no test sees marks a missing test.

    python tests/planted_faults.py              all faults
    python tests/planted_faults.py ssim losses  those whose file or description contains one of the words

The tests named beside a fault must fail with it, and pass without it (DeMillo, Lipton and Sayward, 1978, "Hints on test
data selection: help for the practicing programmer"). `fault_runner.py` plants the fault and runs them.
"""

import os
import sys

from fault_runner import Fault, complaints
from kernel_faults import KERNELS
from planted_family_faults import FAMILY_TABLE

GRADIENT = "gradients::test_one_batch"
RESUMED = "fitting/resuming::test_ten_epochs_equal_five_and_five_more_bit_for_bit"
SSIM = "test_ssim_is_what_wang_et_al_define"
ADAM = "test_adam_follows_the_papers_algorithm"
BEST = "test_the_best_parameters_are_a_copy_of_those_at_the_lowest_validation_loss"

# file below npae/: what is wrong, text, wrong text, a test that must fail, and the backend unless it is NumPy
TABLE = {
    "layers.py": [
        ("W instead of its transpose", "matmul(grad_y, W.T)", "matmul(grad_y, W)", GRADIENT),
        ("the sign of the input gradient", "return matmul(grad_y, W.T)", "return -matmul(grad_y, W.T)", GRADIENT),
        ("no bias gradient", "column_sums(grad_y, out=self.b.grad)", "pass", GRADIENT),
        ("the weights' gradient as a mean over the batch", "matmul(x.T, grad_y, out=self.W.grad)",
         "self.W.grad[...] = x.T @ grad_y / len(x)", GRADIENT),
        ("gradients that add up", "matmul(x.T, grad_y, out=self.W.grad)", "self.W.grad += x.T @ grad_y",
         "test_backward_sets_the_gradients_and_does_not_add_to_them"),
        ("column sums in float32", "dtype=np.promote_types(a.dtype, np.float64)", "dtype=a.dtype",
         "test_the_plain_column_sums_of_float32_are_added_in_float64"),
        ("backward in the order of forward", "for layer in reversed(self.layers):", "for layer in self.layers:",
         GRADIENT),
        ("the first layer does not learn", "self.layers[0].backward_parameters(grad_y)", "pass",
         "test_backward_parameters_is_backward_without_the_input_gradient"),
        ("He's variance without its 2", "np.sqrt(2.0 / n_in)", "np.sqrt(1.0 / n_in)",
         "test_he_weights_keep_the_size_of_a_signal_before_a_relu"),
        ("Glorot's variance from one width", "6.0 / (n_in + n_out)", "6.0 / n_in",
         "test_glorot_weights_have_the_variance_of_glorot_and_bengio"),
        ("the same initial weights in every layer", 'as_generator(rng, "Dense")', 'as_generator(0, "Dense")',
         "fitting/networks::test_every_layer_and_every_seed_has_its_own_initial_weights"),
        ("kinks of the first layer only", "[sides for layer in self.layers for",
         "[sides for layer in self.layers[:1] for",
         "activations::test_branches_tell_on_which_side_of_the_kink_each_element_was"),
    ],
    "activations.py": [
        ("ReLU passes every gradient", "grad_y * (y > 0)", "grad_y * (y >= 0)", GRADIENT),
        ("ELU with alpha 1 on the way back", "grad_y * (y + alpha)", "grad_y * (y + 1)",
         "gradients::test_activation_with_its_own_slope"),
        ("ELU's exponential overflows", "np.expm1(np.minimum(x, 0))", "np.expm1(x)",
         "test_huge_numbers_overflow_nowhere"),
        ("the sigmoid's exponential overflows", "e = np.exp(np.where(positive, -x, x))", "e = np.exp(-x)",
         "test_each_activation_is_its_definition_element_by_element"),
        ("tanh's derivative without its square", "grad_y * (1 - y * y)", "grad_y * (1 - y)", GRADIENT),
    ],
    "losses.py": [
        ("MSE divided by N, not by N d", "slope * (scale / slope.size)", "slope * (scale / len(slope))", GRADIENT),
        ("MSE halved in value and gradient", "_weighted_mean(error * error, 2 * error, weight, scale)",
         "_weighted_mean(error * error / 2, error, weight, scale)", "test_mse_is_the_mean_over_every_element"),
        ("a mean in float32", "cost.mean(dtype=np.promote_types(cost.dtype, np.float64))", "cost.mean()",
         "test_a_mean_of_float32_is_taken_in_float64"),
        ("a weighted value with a plain gradient", "cost, slope = cost * weight[:, None], slope * weight[:, None]",
         "cost = cost * weight[:, None]", "gradients::test_losses_under_weights"),
        ("BCE's gradient with a wrong sign", "miss - e / (1 + e)", "miss + e / (1 + e)", GRADIENT),
        ("the last digits of BCE's gradient lost", "miss - e / (1 + e)", "miss + 1 / (1 + e) - 1",
         "test_bce_of_a_nearly_certain_element_keeps_its_digits"),
        ("BCE's last digits lost", "np.log1p(e)", "np.log(1 + e)",
         "test_bce_of_a_nearly_certain_element_keeps_its_digits"),
        ("BCE without its inverse link", "return sigmoid(prediction)", "return prediction",
         "test_the_inverse_link_of_bce_is_the_sigmoid_and_of_the_others_the_identity"),
        ("SSIM's gradient with the wrong sign", "grad = -(", "grad = (", GRADIENT),
        ("SSIM's derivative without the covariance", " - mu_y * d_xy", "", GRADIENT),
        ("SSIM divided by pixels, not windows", "/ S.size", "/ prediction.size", GRADIENT),
        ("SSIM's variance not centred", "(yy - mu_y * mu_y)", "yy", SSIM),
        ("SSIM without the range in c2", "(self.k2 * self.data_range) ** 2", "self.k2**2",
         "test_ssim_is_the_same_in_every_unit"),
        ("a custom loss not weighted", "np.mean(weight * np.array(rows, np.float64))",
         "np.mean(np.array(rows, np.float64))", "test_a_custom_loss_without_weights_is_weighted_row_by_row"),
        ("rows by the formula of another loss", "cls._by_row = Loss._by_row", "pass",
         "test_the_loss_by_row_is_that_of_each_row_alone"),
        ("BCE by row of the other target", "np.where(logits > 0, 1 - target, target)",
         "np.where(logits > 0, target, 1 - target)", "test_the_loss_by_row_is_that_of_each_row_alone"),
        ("SSIM by row without its 1", "1 - self._forward(output, target)[4]", "-self._forward(output, target)[4]",
         "test_the_loss_by_row_is_that_of_each_row_alone"),
    ],
    "optimizers.py": [
        ("SGD uphill", "value -= rate * (grad", "value += rate * (grad", "test_plain_sgd_walks_down_the_gradient"),
        ("momentum with dampening", "    v += grad\n", "    v += (1 - momentum) * grad\n",
         "test_sgd_with_momentum_follows_its_definition"),
        ("Adam's correction a step late", "state.step = t = state.step + 1",
         "state.step, t = state.step + 1, state.step + 2", ADAM),
        ("Adam's betas swapped", "rate, self.beta1, self.beta2,", "rate, self.beta2, self.beta1,", ADAM),
        ("Adam's eps inside the root", "np.sqrt(v / correction2) + eps", "np.sqrt(v / correction2 + eps)", ADAM),
        ("a cosine over a whole turn", "math.cos(math.pi * t)", "math.cos(2 * math.pi * t)",
         "test_the_cosine_runs_from_start_to_end_and_is_halfway_in_the_middle"),
        ("a schedule that starts late", "state.step / last)", "(state.step + 1) / last)",
         "test_a_schedule_sets_the_rate_of_each_step_from_first_to_last"),
        ("a schedule that runs on after its end", "min(1.0, state.step / last)", "state.step / last",
         "test_a_schedule_stays_at_its_end_and_begins_at_its_start"),
    ],
    "corruptions.py": [
        ("nine rounds of Philox", "for _ in range(10):", "for _ in range(9):", "test_random_words_are_those_of_philox"),
        ("a logarithm of zero", ">> 9) + 0.5)", ">> 9) + 0.0)", "test_normals_are_finite_even_for_the_smallest_word"),
        ("half of Box and Muller", "r * np.cos(a), r * np.sin(a)", "r * np.cos(a), r * np.cos(a)",
         "test_gaussian_noise_is_independent_from_element_to_element"),
        ("no clip", "np.clip(noisy, low, high)", "noisy", "test_gaussian_noise_is_clipped_to_its_range"),
        ("one key for every call", "[generator.integers(2**64, dtype=np.uint64)]", "np.zeros(1, np.uint64)",
         "test_noise_is_fresh_at_every_call"),
        ("the generator is ignored", "[generator.integers(2**64, dtype=np.uint64)]",
         "[np.random.default_rng().integers(2**64, dtype=np.uint64)]",
         "test_shape_and_dtype_stay_and_x_is_unchanged"),
        ("more salt than pepper", "fraction * 2.0**31", "fraction * 2.0**30",
         "test_salt_and_pepper_come_in_equal_parts"),
        ("the clean x is not protected", "x.flags.writeable = False", "pass",
         "test_corrupt_casts_to_the_dtype_of_x_and_protects_x"),
    ],
    "training.py": [
        ("a noisy target", "loss.value_and_gradient(x_hat, x, weight)", "loss.value_and_gradient(x_hat, x_in, weight)",
         "autoencoder::test_the_target_of_a_denoising_autoencoder_is_the_clean_x"),
        ("no noise", "x if corruption is None else", "x if True else",
         "fitting/fit::test_noise_differs_from_batch_to_batch_and_from_epoch_to_epoch"),
        ("weights forgotten", "loss.value_and_gradient(x_hat, x, weight)", "loss.value_and_gradient(x_hat, x, None)",
         "fitting/recording::test_weights_equal_repeated_rows_in_a_full_batch"),
        ("a short batch counts as a full one", "total + value * len(batch)", "total + value * 16",
         "test_an_epochs_loss_is_the_mean_over_its_rows_not_over_its_batches"),
        ("a loss of NaN goes unnoticed", "if not math.isfinite(value):", "if False:",
         "test_a_loss_that_is_not_finite_ends_training"),
        ("weights lost in the vector", "flat.value[place] = p.value.ravel()", "pass",
         "test_a_step_on_the_vector_is_a_step_of_every_weight"),
    ],
    "fitting/networks.py": [
        ("the decoder's widths in the encoder's order", "half(widths[::-1], ",
         "half([widths[-1], *widths[1:-1], widths[0]], ", "test_the_decoder_has_the_widths_of_the_encoder_in_reverse"),
        ("the user's networks are trained, not copies", "encoder, decoder = copy.deepcopy((encoder, decoder))",
         "pass", "test_own_networks_are_trained_as_copies_that_start_from_their_weights"),
    ],
    "fitting/advice.py": [
        ("columns far from zero pass", "square[varies].mean() / variance", "variance[varies].mean() / variance",
         "test_what_counts_as_unscaled"),
        ("a warning of a code as wide as x less one", ">= batches.width and", ">= batches.width - 1 and",
         "test_a_code_that_cannot_copy_is_not_warned_of"),
    ],
    "fitting/batches.py": [
        ("the last batch dropped", "end = len(rows) if is_last else len(rows) // batch_size * batch_size",
         "end = len(rows) // batch_size * batch_size", "test_every_row_comes_once_an_epoch_in_whole_batches"),
        ("the rows between two pools dropped", "rest = rows[end:]", "rest = rows[:0]",
         "test_every_row_comes_once_an_epoch_in_whole_batches"),
        ("no shuffling within a pool", "rng.shuffle(rows)", "pass",
         "test_blocks_are_shuffled_and_so_are_the_rows_of_each_pool"),
        ("weights of other rows", "self.weight[rows]", "self.weight[: len(rows)]",
         "fitting/recording::test_the_losses_of_minibatches_add_up_to_the_weighted_loss"),
        ("held-out rows that are learned from", "self.kept[numbers] if self.held_out else numbers", "numbers",
         "fitting/fit::test_a_held_out_share_is_validation_data_bit_for_bit"),
        ("held-out rows without weights", "self.weight[held] / theirs", "None",
         "fitting/fit::test_held_out_rows_keep_their_weights"),
        ("the first batch of an iterable lost", "chain([self.first], self.iterator), None", "self.iterator, None",
         "test_batches_are_taken_as_they_come_one_step_each"),
    ],
    "fitting/prediction.py": [
        ("blocks weighted alike in a mean", "losses @ rows", "losses.sum() * BLOCK_ROWS",
         "test_block_edges_neither_lose_nor_repeat_a_row"),
        ("a last block that begins a row late", "table[last * BLOCK_ROWS :]", "table[last * BLOCK_ROWS + 1 :]",
         "test_block_edges_neither_lose_nor_repeat_a_row"),
        ("infinite results of many rows returned", "if not finite_y.all():", "if False:",
         "test_one_result_beyond_the_range_is_refused_in_any_block"),
        ("the score of the first row for all rows", "by_row[:, 0]", "by_row[0] + 0 * by_row[:, 0]",
         "test_the_mean_of_the_scores_of_the_rows_is_the_score"),
        ("NaN among many rows accepted", "if not finite_x.all():", "if False:",
         "test_one_number_that_is_not_finite_is_refused_in_any_block"),
        ("NaN reaches a layer of one's own", "or not recordable(*parts):", "or False:",
         "test_one_number_that_is_not_finite_is_refused_in_any_block"),
    ],
    "fitting/history.py": [
        ("one epoch more of patience", "epoch - best >= patience", "epoch - best > patience", BEST),
        ("the best parameters are not a copy", "= epoch, parameters.copy()", "= epoch, parameters", BEST),
        ("other rows are held out after a resumption", "self.validation_noise_rng().spawn(1)[0]",
         "self.validation_rng.spawn(1)[0]", "fitting/resuming::test_resuming_holds_out_the_same_rows"),
        ("the validation noise moves on", "return copy.deepcopy(self.validation_rng)", "return self.validation_rng",
         RESUMED),
    ],
    "fitting/fit.py": [
        ("the best weights do not come back", "training.last, vector.value[:] = vector.value.copy(), training.best",
         "pass", "fitting/history::test_the_best_weights_come_back_after_all_epochs_too"),
        ("resuming starts from the best weights", "vector.value[:], training.last = training.last, None",
         "training.last = None", RESUMED),
        ("a resumed schedule starts over", "training.state.step + (plan.epochs - plan.done)",
         "training.state.step + plan.epochs",
         "fitting/resuming::test_a_resumed_schedule_reaches_its_end_with_the_last_epoch"),
        ("partial_fit plans one epoch only", "int(model.epochs) * plan.batches.steps",
         "plan.epochs * plan.batches.steps",
         "fitting/resuming::test_ten_calls_of_partial_fit_equal_a_fit_of_ten_epochs"),
        ("the model itself is resumed, not a copy", 'copy.deepcopy(fitted.get("training_"))', 'fitted.get("training_")',
         "fitting/resuming::test_resuming_that_diverges_loses_nothing"),
        ("validated without noise", "V if V is None or plan.corruption is None else", "V if True else",
         "test_a_denoising_autoencoder_is_validated_under_the_same_noise_in_every_epoch"),
        ("the caller's generator does not advance",
         "as_generator(model.random_state, type(model).__name__).spawn(4)  #", "pass  #",
         "test_a_generator_advances_with_a_fit_but_not_with_an_error"),
    ],
    "fitting/callbacks.py": [
        ("any answer of a callback ends training", "isinstance(answer, bool | np.bool_) and bool(answer)",
         "bool(answer)", "test_a_callback_ends_training_with_true_and_with_nothing_else"),
    ],
    "storage/archive.py": [
        ("the digest is not compared", "if archive.read(others[-1]) != digest.hexdigest().encode():", "if False:",
         "test_changed_contents_under_an_old_digest_are_refused"),
        ("the size of a member is not checked",
         "if size != len(npy_header(dtype, shape)) + math.prod(shape) * dtype.itemsize:", "if False:",
         "test_other_members_are_refused"),
    ],
    "storage/files.py": [
        ("the old file is written over", 'part = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.part")',
         "part = path", "test_an_error_midway_leaves_the_old_file_and_no_other"),
    ],
    "storage/serialize.py": [
        ("a generator's position may be negative", "not 0 <= position <= _BIT", "not position <= _BIT",
         "test_a_forged_generator_is_refused"),
        ("biases are not loaded", "layer.W.value[:], layer.b.value[:] = W, b", "layer.W.value[:] = W",
         "storage/models::test_a_model_comes_back_bit_for_bit"),
    ],
    "storage/models.py": [
        ("parameters of NaN are saved", "    if not np.isfinite(a).all():", "    if False:",
         "test_a_model_whose_parts_do_not_fit_together_is_not_saved"),
    ],
    "storage/export.py": [
        ("every layer from the first number", "{first}:{first + a.size}]", "{0}:{a.size}]",
         "test_the_file_computes_what_the_model_computes"),
    ],
    "storage/checkpoint.py": [
        ("no checkpoint of the best weights", "if always or epoch % self.every:", "if epoch % self.every:",
         "fitting/callbacks::test_a_checkpoint_at_the_end_has_the_best_weights"),
    ],
    "autoencoder.py": [
        ("decode without the inverse link", "loss.inverse_link(decoder.forward(z))", "decoder.forward(z)",
         "test_bce_reconstructs_probabilities_and_scores_logits"),
        ("lower scores are better", "return -check_finite(evaluate", "return check_finite(evaluate",
         "test_the_objective_of_an_autoencoder_is_minus_its_score"),
        ("a DAE scored on noisy rows", "evaluate(network, self.loss_, X, X, weight)",
         "evaluate(network, self.loss_, self.objective(X).inputs, X, weight)",
         "fitting/prediction::test_a_score_is_minus_the_mean_loss_over_all_clean_rows_of_all_blocks"),
    ],
    "pca.py": [
        ("no centring", "X.mean(axis=0, dtype=np.float64)", "np.zeros(X.shape[1])",
         "test_pca_reconstructs_with_the_least_squared_error"),
        ("components of either sign", "np.abs(V).argmax(axis=1)", "0",
         "test_pca_points_components_to_their_largest_entry_and_gives_their_share_of_the_whole_variance"),
        ("a component too few for a share", "(explained <= share).sum()) + 1", "(explained <= share).sum())",
         "test_a_share_of_the_variance_keeps_the_fewest_components_that_explain_more"),
        ("a weight of 2 that counts once", "np.sqrt(w)[:, None] * (X - mean)", "(X - mean)",
         "test_a_weight_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out"),
    ],
    "outliers.py": [
        ("the best rows are trimmed", "kept = mean >= np.q", "kept = mean <= np.q",
         "test_trimmed_rows_are_not_learned_from"),
        ("the first fit counts", "slice(1 if trim > 0 else 0, None)", "slice(0, n_fits)",
         "test_trimmed_rows_are_not_learned_from"),
        ("one seed for all fits", "int(rng.integers(2**32))", "7",
         "test_one_seed_fixes_all_fits_and_each_fit_has_its_own"),
        ("scaled by the variance", "np.where(varies, std, 1)", "np.where(varies, std**2, 1)",
         "test_scores_do_not_depend_on_the_units_of_the_columns"),
        ("rows at the other end", "(X) < 0, -1, 1)", "(X) > 0, -1, 1)",
         "test_a_score_is_the_mean_over_the_fits_and_the_threshold_a_quantile_of_the_training_rows"),
    ],
    "gradcheck.py": [
        ("divided by h", "/ (2 * h)), rounding", "/ h), rounding", "test_central_differences_are_of_second_order"),
        ("kinks below not noticed", "if same_above and same_below", "if same_above",
         "test_a_kink_within_the_step_is_left_out_and_counted"),
        ("a sign that does not matter", "abs(self.analytic - self.numeric)",
         "abs(abs(self.analytic) - abs(self.numeric))", "test_a_wrong_gradient_is_refused"),
        ("one right array is enough", "all(map(self._passes", "any(map(self._passes",
         "test_one_wrong_parameter_is_enough"),
        ("the cotangent that x was drawn with", "as_generator(random_state, CALLER).spawn(1)[0]",
         "as_generator(random_state, CALLER)", "test_an_x_drawn_with_the_checkers_own_seed_hides_nothing"),
    ],
    "estimator/base.py": [
        ("errors without a square", "np.square(x - self", "np.abs(x - self",
         "test_the_reconstruction_error_is_the_squared_distance_to_the_reconstruction"),
        ("rows that forget their names", "NamedRows.of(x, names)", "x",
         "test_columns_with_names_are_checked_once_for_all_rows"),
    ],
    "estimator/validation.py": [
        ("only the first numbers are checked", "for start in range(0, len(table), rows):",
         "for start in range(0, 1, rows):", "test_a_table_is_checked_to_its_last_number_however_large"),
        ("weights that sum to 1", "weights / weights.mean()", "weights / weights.sum()",
         "test_normalized_weights_keep_their_proportions_and_have_mean_one"),
    ],
    "estimator/arguments.py": [
        ("a count of one less", "if number < at_least:", "if number < at_least - 1:",
         "test_a_bad_call_says_what_was_expected_and_what_came"),
    ],
    **KERNELS,
}  # fmt: skip
FAULTS = [Fault(file, *row) for table in (TABLE, FAMILY_TABLE) for file, rows in table.items() for row in rows]


def main(words):
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads is not safe to fork
    import hypothesis.extra.numpy  # noqa: F401  (loaded once, before the processes fork)
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    faults = [f for f in FAULTS if not words or any(word in f"{f.file} {f.wrong}".lower() for word in words)]
    wrong = 0
    for complaint in complaints(faults):
        wrong += 1
        print(complaint, flush=True)
    print(f"{len(faults)} faults, {wrong} complaints")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main([word.lower() for word in sys.argv[1:]]))
