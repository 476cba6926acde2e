"""The data sets and metrics of core. Strings only, nothing is imported."""

from __future__ import annotations

from corekit.registry.core_flows import of_core

DATA = [
    # data
    of_core(
        "dataset",
        "binarized",
        "data:BinarizedSpec",
        "data.binarized:Binarized",
        "gray images of another data set made black and white",
        "BINARIZED",
    ),
    of_core(
        "dataset",
        "digits",
        "data:DigitsSpec",
        "data.digits:Digits",
        "the handwritten digits of scikit-learn, 8 x 8",
        "DIGITS",
    ),
    of_core(
        "dataset",
        "low_res",
        "data:LowResSpec",
        "data.low_res:LowRes",
        "images of another data set, each with a smaller copy",
        "LOW_RES",
    ),
    of_core(
        "dataset",
        "shapes2d",
        "data:Shapes2dSpec",
        "data.shapes2d:Shapes2d",
        "black and white pictures of shapes that corekit draws itself",
        "SHAPES2D",
    ),
    of_core(
        "dataset",
        "shapes32",
        "data:Shapes32Spec",
        "data.shapes32:Shapes32",
        "colour pictures of shapes that corekit draws itself, with their factors",
        "SHAPES32",
    ),
    of_core(
        "dataset",
        "shapes3d",
        "data:Shapes3dSpec",
        "data.shapes3d:Shapes3d",
        "point clouds of shapes that corekit draws itself; no file needed",
        "SHAPES3D",
    ),
    of_core(
        "dataset",
        "toy1d",
        "data:Toy1dSpec",
        "data.toy1d:Toy1d",
        "numbers from a density on the line",
    ),
    of_core(
        "dataset",
        "toy2d",
        "data:Toy2dSpec",
        "data.toy2d:Toy2d",
        "points in the plane from a classic density: moons, rings, …; no file needed",
    ),
    of_core(
        "dataset",
        "targets2d",
        "variational:Targets2dSpec",
        "data.targets2d:Targets2d",
        "points in the plane from a density that flows are fitted to without data",
    ),
    of_core(
        "dataset",
        "image_folder",
        "data_files:ImageFolderSpec",
        "data.image_folder:ImageFolder",
        "image files in a folder and its sub-folders",
        "IMAGE_FOLDER",
    ),
    of_core(
        "dataset",
        "arrays",
        "data_files:ArraysSpec",
        "data.arrays:Arrays",
        "rows of an array of an .npz, .npy or .h5 file",
        "ARRAYS",
    ),
    of_core(
        "dataset",
        "idx",
        "data_files:IdxSpec",
        "data.idx:Idx",
        "images of idx files, like those of MNIST",
        "IDX",
    ),
    of_core(
        "dataset",
        "csv",
        "data_files:CsvSpec",
        "data.csv_table:Csv",
        "columns of numbers of a text file",
        "CSV",
    ),
    # metrics
    of_core(
        "metric",
        "bits_per_dim",
        "metrics:BitsPerDimSpec",
        "metrics.bits:BitsPerDim",
        "bits per dimension of held-out data",
    ),
    of_core(
        "metric",
        "fid",
        "metrics:FidSpec",
        "metrics.fid:Fid",
        "FID, KID, precision and recall, over features of a network in a file",
    ),
    of_core(
        "metric",
        "nearest_training",
        "metrics:NearestTrainingSpec",
        "metrics.nearest:NearestTraining",
        "whether samples are copies of training examples",
    ),
]
