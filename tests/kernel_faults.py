"""The planted faults in `npae/kernels` (see `planted_faults.py`)."""

KERNELS = {
    "kernels/numba_backend/blocks.py": [
        ("threads share the arrays between kernels", "+= address(own) - first", "+= 0",
         "kernels/blocks::test_every_block_has_the_bits_that_it_has_alone", "numba"),
        ("every block is read and written at the same place", "arrays[k].strides[0])", "0)",
         "kernels/blocks::test_every_block_has_the_bits_that_it_has_alone", "numba"),
        ("results made by nobody", "and all(address(r) in recording.made for r in results)", "",
         "kernels/blocks::test_a_step_that_does_not_make_its_results_anew_is_called_for_every_block", "numba"),
        ("results that outlive a block", "and not recording.lasting", "",
         "kernels/blocks::test_a_step_that_does_not_make_its_results_anew_is_called_for_every_block", "numba"),
        ("one array for two results", "and not any(_overlap(a, b) for i, a in enumerate(extents) for b in extents[:i])",
         "", "kernels/blocks::test_a_step_that_does_not_make_its_results_anew_is_called_for_every_block", "numba"),
        ("tables of another kind", "_layout(a[0]) == _layout(m) and ", "",
         "kernels/blocks::test_arrays_that_a_recording_does_not_fit_are_computed_block_by_block", "numba"),
        ("results that overwrite tables", "for a in (*tables, *results[:i])", "for a in results[:i]",
         "kernels/blocks::test_results_in_the_memory_of_a_table_or_read_only_are_not_replayed", "numba"),
    ],
    "kernels/numba_backend/recording.py": [
        ("numbers are not computed again before a replay", "            values[...] = compute()\n",
         "            pass\n", "kernels/recomputed::test_each_step_uses_the_numbers_of_its_own_step", "numba"),
        ("a step that changes is replayed", "previous.trace == new.trace", "True",
         "kernels/parallel::test_a_step_in_which_numpy_makes_an_array_runs_in_full_every_time", "numba"),
        ("a recording survives a change of the backend", "new.replayable and self._unchanged()", "new.replayable",
         "kernels/parallel::test_a_step_that_switches_the_backend_itself_runs_in_full_every_time", "numba"),
    ],
    "kernels/numba_backend/caches.py": [
        ("the first cache of all", "== level:", ">= 0:", "kernels/pool::test_cache_sizes_are_read_by_level", "numba"),
    ],
    "kernels/numba_backend/epilogues.py": [
        ("a rectifier moves into a product that others read", " and not _among(c, [*others, *results])", "",
         "kernels/epilogues::test_a_product_that_somebody_else_reads_keeps_its_own_result", "numba"),
        ("a result may be rewritten", "[*others, *results]", "others",
         "kernels/epilogues::test_a_product_that_somebody_else_reads_keeps_its_own_result", "numba"),
        ("a leaky rectifier becomes a plain one", "LEAKY if leaky else RELU", "RELU",
         "kernels/epilogues::test_rectifiers_after_products_give_the_same_bits_in_the_products_store", "numba"),
    ],
    "kernels/numba_backend/plans.py": [
        ("more tiles than a task has memory for", "range(-(-len(heights) // MC), len(heights) + 1)",
         "range(1, len(heights) + 1)", "kernels/products::test_the_tiles_of_a_plan_cover_c_in_few_tasks", "numba"),
    ],
    "kernels/numba_backend/products.py": [
        ("a product written over its operand", " and not np.may_share_memory(c, a)", "",
         "kernels/products::test_out_may_share_memory_with_an_operand", "numba"),
    ],
}  # fmt: skip
