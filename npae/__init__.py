"""npae: autoencoders from scratch in NumPy.

Read the source in this order: layers, losses, optimizers, networks, training, autoencoder. Side rooms on the way
are parameter and initializers before it, activations, weights, schedules, batches, blocks and history beside it,
fitting behind `fit`, and pca at its end. Files are made in persistence, packing, archive and exporting.
"""

from npae import datasets
from npae.activations import ELU, Activation, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.autoencoder import AE, DAE
from npae.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from npae.gradcheck import GradientReport, check_gradients
from npae.history import History
from npae.kernels import backend_info, backend_name, use_backend
from npae.layers import Dense, Layer, Sequential
from npae.losses import BCE, MSE, SSIM, Loss
from npae.optimizers import SGD, Adam, Optimizer
from npae.parameter import Parameter
from npae.pca import PCA
from npae.persistence import load, save
from npae.schedules import Constant, Cosine, Schedule

__version__ = "0.1.0"

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
