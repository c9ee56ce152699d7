package com.cbrgateway.client;

import com.google.protobuf.Message;
import io.grpc.Context;
import io.grpc.Status;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * The pages of a list, whichever it is; one is held at a time. Each walk through them begins anew.
 *
 * <pre>{@code
 * Pages.of(vaults::listVaults, ListVaultsRequest.getDefaultInstance()).rows(ListVaultsResponse::getVaultsList).forEach(...);
 * }</pre>
 */
public final class Pages<A extends Message> implements Iterable<A> {
  private final Function<String, A> call;
  private final String first;
  private final boolean prefetch;

  private Pages(Function<String, A> call, String first, boolean prefetch) {
    this.call = call;
    this.first = first;
    this.prefetch = prefetch;
  }

  /** The list is a method of a blocking stub. Throws an IllegalArgumentException for one that is no list. */
  public static <Q extends Message, A extends Message> Pages<A> of(Function<Q, A> list, Q request) {
    var token = request.getDescriptorForType().findFieldByName("page_token");
    if (token == null) {
      throw new IllegalArgumentException(request.getDescriptorForType().getName() + " has no page_token: its RPC is no list");
    }
    @SuppressWarnings("unchecked")
    Function<String, A> call = page -> list.apply((Q) request.toBuilder().setField(token, page).build());
    return new Pages<>(call, (String) request.getField(token), false);
  }

  /** The next page is asked for while the caller is at work on this one. */
  public Pages<A> prefetch() {
    return new Pages<>(call, first, true);
  }

  /** The rows of all pages: say where they stand in one. */
  public <R> Stream<R> rows(Function<A, List<R>> rows) {
    return stream().flatMap(page -> rows.apply(page).stream());
  }

  public Stream<A> stream() {
    return StreamSupport.stream(spliterator(), false);
  }

  @Override
  public Iterator<A> iterator() {
    return new Walk();
  }

  private final class Walk implements Iterator<A> {
    private String asked = first;
    private Supplier<A> next = () -> call.apply(first);

    @Override
    public boolean hasNext() {
      return next != null;
    }

    @Override
    public A next() {
      if (next == null) {
        throw new NoSuchElementException();
      }
      A page = next.get();
      String token = (String) page.getField(page.getDescriptorForType().findFieldByName("next_page_token"));
      if (!token.isEmpty() && token.equals(asked)) {
        throw Status.INTERNAL.withDescription("the list does not go on: a page names itself as the next one").asRuntimeException();
      }
      asked = token;
      Supplier<A> following = () -> call.apply(token);
      next = token.isEmpty() ? null : prefetch ? ahead(following) : following;
      return page;
    }
  }

  /** Makes the call at once, in a thread of its own. */
  private static <A> Supplier<A> ahead(Supplier<A> call) {
    var made = new FutureTask<>(call::get);
    var thread = new Thread(Context.current().wrap(made), "cbrgateway-page");
    thread.setDaemon(true);
    thread.start();
    return () -> {
      try {
        return made.get();
      } catch (ExecutionException failure) {
        if (failure.getCause() instanceof Error error) {
          throw error;
        }
        throw (RuntimeException) failure.getCause();
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while a page was awaited", interrupted);
      }
    };
  }
}
