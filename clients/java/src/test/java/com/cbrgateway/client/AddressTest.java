package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Addresses as people write them: taken, or refused before any call. */
class AddressTest {
  private record Case(String address, String says) {}

  @Test
  void addresses() throws Exception {
    Case[] cases = new Gson().fromJson(Files.readString(Path.of(Stage.get("ADDRESSES"))), Case[].class);
    assertTrue(cases.length > 0);
    for (Case each : cases) {
      if (each.says.isEmpty()) {
        Gateway.at(each.address).connect().close();
        continue;
      }
      var refused = assertThrows(IllegalArgumentException.class, () -> Gateway.at(each.address), each.address);
      assertEquals("the address \"" + each.address + "\" " + each.says, refused.getMessage());
    }
    Stage.passed("addresses");
  }
}
