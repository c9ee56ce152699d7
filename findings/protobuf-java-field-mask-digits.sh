#!/usr/bin/env bash
# Guess:   A field mask that JSON cannot hold is refused when it is written. JSON has `disk1Size` for `disk_1_size`, which is read as `disk1_size`, so Java's JsonFormat
#          throws, as protobuf for Python, Go and TypeScript does, and as protobuf's conformance tests say.
# Happens: Java writes `disk1Size`, and every reader, itself included, makes `disk1_size` of it. So an update over JSON (a REST gateway, a transcoding proxy, a queue)
#          names a field that does not exist, or another one: the server refuses a mask that the caller never wrote, or changes what it was not asked to change,
#          or nothing. Over gRPC the same request works.
# Version: protobuf-java-util 4.35.1, Java 17; protobuf 7.36.2 (Python) as the reader
# Source:  running it; `toJsonString` of FieldMaskUtil, which converts with Guava's CaseFormat and looks at nothing; the conformance test FieldMaskNumbersDontRoundTrip
# Advice:  No digit right after `_` in names of fields (`disk1_size`). With names that are given, write masks in JSON only after
#          `FieldMaskUtil.fromJsonString(FieldMaskUtil.toJsonString(mask)).equals(mask)`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check protobuf==7.36.2

cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.google.protobuf</groupId>
      <artifactId>protobuf-java-util</artifactId>
      <version>4.35.1</version>
    </dependency>
  </dependencies>
</project>
POM

cat >Look.java <<'JAVA'
import com.google.protobuf.FieldMask;
import com.google.protobuf.util.FieldMaskUtil;
import com.google.protobuf.util.JsonFormat;

public final class Look {
    public static void main(String[] arguments) throws Exception {
        FieldMask mask = FieldMask.newBuilder().addPaths("disk_1_size").build();
        String json = JsonFormat.printer().print(mask);
        FieldMask.Builder read = FieldMask.newBuilder();
        JsonFormat.parser().merge(json, read);
        boolean found = FieldMaskUtil.fromJsonString(FieldMaskUtil.toJsonString(mask)).equals(mask);
        System.out.println(json + " " + read.getPathsList() + " " + found);
    }
}
JAVA

cat >look.py <<'PYTHON'
import subprocess
import sys
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

run = subprocess.run(["java", "-cp", Path("classpath").read_text(), "Look.java"], check=True, capture_output=True, text=True, timeout=120)
json, read, found = run.stdout.split()
reader = list(json_format.Parse(json, FieldMask()).paths)
try:
    written = json_format.MessageToJson(FieldMask(paths=["disk_1_size"]))
except ValueError as error:
    written = f"ValueError: {error}"
print(f"disk_1_size: Java writes {json}, and reads {read}; Python reads {reader}, and writes {written}")
as_described = (json, read, found, reader) == ('"disk1Size"', "[disk1_size]", "false", ["disk1_size"]) and written.startswith("ValueError")
if not as_described:
    print("CHANGED: this is not what the head of this script describes")
sys.exit(not as_described)
PYTHON

mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath
environment/bin/python look.py
