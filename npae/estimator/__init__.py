"""scikit-learn's conventions without scikit-learn: the base class, its parameters, DataFrames and the checks of input.

    base            Base: get_params, set_params; Estimator: fit, encode, decode, set_output
    parameters      names such as optimizer__learning_rate
    dataframes      names of columns, codes as DataFrames
    validation      checks of arrays
    arguments       checks of scalars, choices and paths

The modules of this folder know nothing of layers, losses or training.
"""

from npae.estimator.base import Base, Estimator, not_fitted

__all__ = ["Base", "Estimator", "not_fitted"]
