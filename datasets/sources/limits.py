"""How much an archive may hold. Far above every published dataset here, and low enough to stop a bomb before it hurts."""

MAX_MEMBERS = 5_000_000
"""files and folders in one archive: ImageNet has 1.3 million images; a listing of 5 million takes about 1 GB of memory"""
MAX_MEMBER_BYTES = 2 * 2**30
"""bytes of one file, which is read into memory: the largest lists and features in use are some hundred MB"""
MAX_TOTAL_BYTES = 2**40
"""bytes of all files of one archive after decompression: ImageNet's 150 GB several times over"""
MAX_RATIO = 250
"""bytes after decompression for each byte before: photographs and drawings have about 1, text lists up to 30, a bomb 1000
(the most that deflate can do)"""
RATIO_FREE_MEMBER_BYTES = 64 * 2**20
"""up to this size one file may have any ratio: an image of one colour is no attack"""
RATIO_FREE_TOTAL_BYTES = 2**30
"""up to this size an archive may have any ratio"""
MAX_TAR_HEADER_BYTES = 2**20
"""bytes of one extended header (long names and the like) of a tar archive"""
MAX_ZIP_DIRECTORY_BYTES = 512 * 2**20
"""bytes of the list of contents of a zip archive: 100 for each of 5 million members"""
