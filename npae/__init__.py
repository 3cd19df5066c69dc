"""npae: autoencoders from scratch in NumPy.

Read the source in this order: layers, activations, losses, likelihoods, optimizers, corruptions, tied, codes,
penalties, training, autoencoder, denoising, variational, pretraining, pca, outliers, gradcheck. Each module imports
only from those before it, and from the folders below: kernels (the fast twins of the formulas), estimator
(scikit-learn's conventions), fitting (what `fit` adds around the training loop), storage (files) and datasets.
"""

from npae import datasets
from npae.activations import ELU, Activation, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.autoencoder import AE
from npae.codes import GaussianCode, NestedDropout, StochasticLayer, TopK, WinnerTakeAll
from npae.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from npae.denoising import DAE
from npae.fitting import History, KeepWeights
from npae.gradcheck import GradientReport, check_gradients
from npae.kernels import backend_info, backend_name, use_backend
from npae.layers import Dense, Layer, Parameter, Sequential
from npae.likelihoods import Bernoulli, Gaussian
from npae.losses import BCE, MSE, SSIM, Loss
from npae.optimizers import SGD, Adam, Constant, Cosine, Optimizer, Schedule
from npae.outliers import OutlierDetector
from npae.pca import PCA
from npae.penalties import L1, Contractive, GaussianKL, KLSparsity, Penalty
from npae.pretraining import pretrain
from npae.storage import load, save
from npae.tied import TiedDense
from npae.variational import VAE

__version__ = "0.2.0"

__all__ = [
    "AE",
    "BCE",
    "DAE",
    "ELU",
    "L1",
    "MSE",
    "PCA",
    "SGD",
    "SSIM",
    "VAE",
    "Activation",
    "Adam",
    "Bernoulli",
    "Constant",
    "Contractive",
    "Cosine",
    "Dense",
    "Gaussian",
    "GaussianCode",
    "GaussianKL",
    "GaussianNoise",
    "GradientReport",
    "History",
    "Identity",
    "KLSparsity",
    "KeepWeights",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MaskingNoise",
    "NestedDropout",
    "Optimizer",
    "OutlierDetector",
    "Parameter",
    "Penalty",
    "ReLU",
    "SaltAndPepper",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "StochasticLayer",
    "Tanh",
    "TiedDense",
    "TopK",
    "WinnerTakeAll",
    "backend_info",
    "backend_name",
    "check_gradients",
    "datasets",
    "load",
    "pretrain",
    "save",
    "use_backend",
]
