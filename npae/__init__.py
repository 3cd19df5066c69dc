"""npae: autoencoders from scratch in NumPy.

Read the source in this order: layers, losses, optimizers, training, autoencoder.
"""

from npae import datasets
from npae.autoencoder import AE, DAE
from npae.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from npae.gradcheck import GradientReport, check_gradients
from npae.kernels import backend_info, backend_name, use_backend
from npae.layers import ELU, Activation, Dense, Identity, Layer, LeakyReLU, ReLU, Sequential, Sigmoid, Tanh
from npae.losses import BCE, MSE, SSIM, Loss
from npae.optimizers import SGD, Adam, Constant, Cosine, Optimizer, Schedule
from npae.parameter import Parameter
from npae.pca import PCA
from npae.persistence import load, save
from npae.training import History

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
