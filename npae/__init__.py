"""npae: autoencoders from scratch in NumPy.

Read the source in this order: layers, activations, losses, optimizers, corruptions, training, autoencoder, pca,
outliers, gradcheck. Each module imports only from those before it, and from the folders below: kernels (the fast twins
of the formulas), estimator (scikit-learn's conventions), fitting (what `fit` adds around the training loop), storage
(files) and datasets.
"""

from npae import datasets
from npae.activations import ELU, Activation, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.autoencoder import AE, DAE
from npae.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from npae.fitting import History
from npae.gradcheck import GradientReport, check_gradients
from npae.kernels import backend_info, backend_name, use_backend
from npae.layers import Dense, Layer, Parameter, Sequential
from npae.losses import BCE, MSE, SSIM, Loss
from npae.optimizers import SGD, Adam, Constant, Cosine, Optimizer, Schedule
from npae.outliers import OutlierDetector
from npae.pca import PCA
from npae.storage import load, save

__version__ = "0.2.0"

__all__ = [
    "AE",
    "BCE",
    "DAE",
    "ELU",
    "MSE",
    "PCA",
    "SGD",
    "SSIM",
    "Activation",
    "Adam",
    "Constant",
    "Cosine",
    "Dense",
    "GaussianNoise",
    "GradientReport",
    "History",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MaskingNoise",
    "Optimizer",
    "OutlierDetector",
    "Parameter",
    "ReLU",
    "SaltAndPepper",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "backend_info",
    "backend_name",
    "check_gradients",
    "datasets",
    "load",
    "save",
    "use_backend",
]
