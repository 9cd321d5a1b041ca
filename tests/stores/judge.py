"""Alibaba's own SDK talks to the test's OSS: what it signs is what the server must take.

    judge.py ENDPOINT KEY_ID SECRET

Puts, finds, reads, lists and removes, with version 1 of the signatures; ends with 0 if all of it went as it should.
"""

import sys

import alibabacloud_oss_v2 as oss

endpoint, key_id, secret = sys.argv[1:]


def client(secret):
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(key_id, secret)
    config.endpoint = endpoint
    config.region = "cn-shanghai"
    config.signature_version = "v1"
    config.use_path_style = True
    config.retry_max_attempts = 1
    config.disable_upload_crc64_check = True
    return oss.Client(config)


judge = client(secret)
key, body = "a b/猫 100%.bin", bytes(range(256)) * 40
judge.put_object(oss.PutObjectRequest(bucket="videos", key=key, body=body))
head = judge.head_object(oss.HeadObjectRequest(bucket="videos", key=key))
assert head.content_length == len(body), head
got = judge.get_object(oss.GetObjectRequest(bucket="videos", key=key, range_header="bytes=100-199"))
assert got.body.read() == body[100:200]
listed = judge.list_objects_v2(oss.ListObjectsV2Request(bucket="videos", prefix="a b/"))
assert [found.key for found in listed.contents] == [key], listed.contents
upload = judge.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(bucket="videos", key="parts"))
parts = []
for number in (1, 2):
    part = judge.upload_part(oss.UploadPartRequest(
        bucket="videos", key="parts", part_number=number, upload_id=upload.upload_id, body=body))
    parts.append(oss.UploadPart(part_number=number, etag=part.etag))
judge.complete_multipart_upload(oss.CompleteMultipartUploadRequest(
    bucket="videos", key="parts", upload_id=upload.upload_id,
    complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts)))
got = judge.get_object(oss.GetObjectRequest(bucket="videos", key="parts"))
assert got.body.read() == body * 2
judge.delete_object(oss.DeleteObjectRequest(bucket="videos", key="parts"))

try:
    client(secret + "x").head_object(oss.HeadObjectRequest(bucket="videos", key=key))
except oss.exceptions.OperationError as error:
    assert "403" in str(error) or "SignatureDoesNotMatch" in str(error), error
else:
    sys.exit("a wrong secret was taken")
